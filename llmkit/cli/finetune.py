"""`llmkit finetune`: trains an adapter."""

from __future__ import annotations

from typing import Annotated

import typer

from llmkit.cli import common


def finetune(
    source: common.Source = None,
    model: common.Model = None,
    task: common.Task = None,
    data_dir: common.DataDir = None,
    method: Annotated[
        str | None, typer.Option("--method", help="talklora, moelora, hydralora, lora, dora, or any PEFT method.")
    ] = None,
    seed: common.Seed = None,
    out: common.Out = None,
    name: common.Name = None,
    set_: common.Set = None,
    resume: Annotated[
        str, typer.Option("--resume", metavar="auto|never|DIR", help="Go on from the last checkpoint, or from DIR.")
    ] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Train again, over what is there.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything and show two batches, without training.")
    ] = False,
    launch: Annotated[
        str | None, typer.Option("--launch", metavar="KIND", help="ddp, fsdp2, zero2 or zero3: several processes.")
    ] = None,
    num_processes: Annotated[int | None, typer.Option("--num-processes", metavar="N")] = None,
    json_: common.Json = False,
) -> None:
    """Train an adapter (TalkLoRA, LoRA, any PEFT method) on clean and noisy text.

    Ends with the run folder; the adapter is in its folder `adapter`. The same command resumes an interrupted training.
    """
    from llmkit.recipe import Override

    given = [
        Override("finetune.method", method, f"--method {method}") if method else None,
        Override("finetune.launch.kind", launch, f"--launch {launch}") if launch else None,
        Override("finetune.launch.num_processes", num_processes, f"--num-processes {num_processes}")
        if num_processes
        else None,
    ]
    flags = common.overrides(set_, model=model, task=task, data_dir=data_dir, seed=seed, out=out, name=name)
    loaded = common.load_trusted(source, [*flags, *(override for override in given if override)])
    if dry_run:
        from llmkit.finetune.dry_run import dry_run as look

        report = look(loaded.recipe)
        return common.print_json(report.facts) if json_ else report.show()
    from llmkit.finetune import finetune as train

    result = train(loaded, resume=resume, force=force, quiet=common.settings.quiet)
    if json_:
        return common.print_json({"folder": str(result.folder), "adapter": str(result.adapter), **result.metrics})
    metrics = result.metrics
    common.note(
        f"{metrics['method']}: {metrics['steps']} steps, dev loss {metrics['dev_loss']:.4f}, "
        f"{metrics['trainable_parameters']:,} trainable parameters, {metrics['seconds']:.0f} s"
    )
    common.note(f"measure it: llmkit eval --adapter {result.adapter}")
    print(result.adapter)
    return None
