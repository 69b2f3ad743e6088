"""`llmkit finetune`: trains an adapter."""

from __future__ import annotations

from typing import Annotated

import typer

from llmkit.cli import common, flags


def finetune(
    source: common.Source = None,
    model: flags.Model = None,
    task: flags.Task = None,
    data_dir: flags.DataDir = None,
    prompt: flags.Prompt = None,
    method: flags.Method = None,
    seed: flags.Seed = None,
    runs_dir: flags.RunsDir = None,
    out: flags.Out = None,
    name: flags.Name = None,
    set_: common.Set = None,
    resume: Annotated[
        str, typer.Option("--resume", metavar="auto|never|DIR", help="Go on from the last checkpoint, or from DIR.")
    ] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Train again, over what is there.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything and show two batches, without training.")
    ] = False,
    launch: flags.Launch = None,
    num_processes: flags.NumProcesses = None,
    num_machines: Annotated[
        int | None, typer.Option("--num-machines", metavar="M", help="Machines that train together, with --launch.")
    ] = None,
    machine_rank: Annotated[
        int | None, typer.Option("--machine-rank", metavar="R", help="The number of this machine, from 0.")
    ] = None,
    main_process: Annotated[
        str | None,
        typer.Option(
            "--main-process",
            metavar="HOST[:PORT]",
            help="Where all machines reach machine 0, by default at port 29500.",
        ),
    ] = None,
    json_: common.Json = False,
) -> None:
    """Train an adapter (TalkLoRA, LoRA, any PEFT method) on clean and noisy text.

    Ends with the run folder; the adapter is in its folder `adapter`. The same command resumes an interrupted training.
    """
    loaded = flags.recipe_from(
        source,
        set_,
        model=model,
        task=task,
        data_dir=data_dir,
        prompt=prompt,
        seed=seed,
        runs_dir=runs_dir,
        out=out,
        name=name,
        method=method,
        launch=launch,
        num_processes=num_processes,
    )
    from llmkit.finetune.machines import Machines

    machines = Machines.of(num_machines, machine_rank, main_process, common.settings.quiet)
    if dry_run:
        from llmkit.finetune.dry_run import dry_run as look

        report = look(loaded.recipe, machines)
        return common.print_json(report.facts) if json_ else report.show()
    from llmkit.finetune import finetune as train

    result = train(loaded, resume=resume, force=force, quiet=common.settings.quiet, machines=machines)
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
