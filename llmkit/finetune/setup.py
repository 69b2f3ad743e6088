"""Puts a run together: model, data, TRL's settings, reports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.engines.chat import ChatStyle, Renderer
from llmkit.engines.model_paths import BUNDLED, LocalModel, locate
from llmkit.errors import EngineError, UsageError
from llmkit.finetune.data import Data, build_data
from llmkit.finetune.tokens import Encoder, Tokens
from llmkit.parsing import JsonObject
from llmkit.recipe.schema import Recipe

if TYPE_CHECKING:
    from datasets import Dataset

    from llmkit.finetune.callbacks import Reporter
    from llmkit.finetune.trainer import FinetuneTrainer


def encoder_for(recipe: Recipe, model: LocalModel) -> Encoder:
    """Creates the encoder of a recipe: prompts exactly as the engines send them."""
    max_length = recipe.finetune.data.max_length
    # The renderer refuses prompts that leave no room; a row's length is judged with its answer, so it gets more room.
    renderer = Renderer.load(model, ChatStyle.of(recipe.model), 10**6, recipe.engine.trust_remote_code)
    plain_renderer = Renderer(renderer.tokenizer, ChatStyle(None, True, None, (None, None)), 10**6)
    return Encoder(renderer, plain_renderer, max_length, recipe.finetune.data.too_long)


def to_dataset(tokens: Tokens, rows: list[int], completion_only: bool) -> Dataset:
    """Converts rows to the dataset that TRL takes."""
    from datasets import Dataset

    columns: dict[str, list[list[int]]] = {}
    for index in rows:
        token_row = tokens.row(index)
        if not completion_only:
            token_row["labels"] = token_row["input_ids"]
        for key, value in token_row.items():
            columns.setdefault(key, []).append(value)
    return Dataset.from_dict(columns)


def pack(dataset: Dataset, max_length: int) -> Dataset:
    """Packs several rows into one sequence, best fit first. Position ids restart in each row, so that rows stay
    apart."""
    from trl.data_utils import pack_dataset

    return pack_dataset(dataset, max_length, "bfd")


@dataclass
class Setup:
    """A trainer ready to go, with what its report needs."""

    recipe: Recipe
    model: LocalModel
    trainer: FinetuneTrainer
    reporter: Reporter
    data: Data
    steps: int

    def last_evaluation(self) -> dict[str, float]:
        """Returns the dev numbers of the current weights; measures them unless the last step was just evaluated."""
        state = self.trainer.state
        evaluations = [row for row in state.log_history if "eval_loss" in row]
        is_current = (
            bool(evaluations)
            and evaluations[-1]["step"] == state.global_step
            and not self.recipe.finetune.train.patience
        )
        return evaluations[-1] if is_current else self.trainer.evaluate()

    def results(self, done: Any, last: dict[str, float], seconds: float, key: str) -> JsonObject:
        """Returns the content of metrics.json. `seconds` is what training took since it began or was resumed."""
        from llmkit.finetune.callbacks import mean_loss, peak_memory_gib

        dev_losses = [row["eval_loss"] for row in self.trainer.state.log_history if "eval_loss" in row]
        trainable_count, total_count = count_parameters(self.trainer.model)
        tokens = self.trainer._total_train_tokens  # as `seconds`, since it was resumed
        return {
            "digest": key,
            "method": self.recipe.finetune.method,
            "base_model": self.model.name,
            "steps": self.trainer.state.global_step,
            "epochs": round(self.steps * self.recipe.finetune.optim.batch_size / self.data.epoch_rows, 3),
            "rows": len(self.data.train),
            "rows_too_long": int(self.data.train.dropped[0]),
            "trainable_parameters": trainable_count,
            "parameters": total_count,
            "train_loss": mean_loss(
                self.trainer.state.log_history,
                self.reporter.first_step,
                self.trainer.state.global_step,
                done.training_loss,
            ),
            "dev_loss": last["eval_loss"],
            "dev_loss_best": min(dev_losses, default=last["eval_loss"]),
            "dev_token_accuracy": last.get("eval_mean_token_accuracy"),
            "seconds": round(self.reporter.earlier + seconds, 1),
            "tokens_per_second": round(tokens / seconds, 1) if seconds else None,
            "peak_memory_gib": peak_memory_gib(),
            "processes": self.trainer.args.world_size,
            "routing": self.trainer.routing["model"] if self.trainer.routing else None,
        }

    def save_routing(self, path: Path) -> None:
        if self.trainer.routing_telemetry is not None:
            self.trainer.routing_telemetry.save(path, self.trainer.state.global_step)


def prepare(recipe: Recipe, run_path: Path, quiet: bool = True) -> Setup:
    """Sets up everything that the first step needs."""
    import datasets
    import transformers
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    from llmkit.finetune.callbacks import Patience, Reporter
    from llmkit.finetune.method import adapt, load_base
    from llmkit.finetune.trainer import FinetuneTrainer, PairCollator

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()  # the reporter shows what there is to see
    datasets.disable_progress_bars()
    section = recipe.finetune
    model = locate(recipe.model.path, recipe.model.revision)
    encoder = encoder_for(recipe, model)
    tokenizer = encoder.renderer.tokenizer
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token  # padding is masked by length, never by value: see Tokens.row
    data = build_data(recipe, model, encoder)
    train_dataset = to_dataset(data.train, data.order, section.data.completion_only)
    dev_dataset = to_dataset(data.dev, list(range(len(data.dev))), section.data.completion_only)
    steps = data.steps
    if section.data.packing:
        train_dataset, dev_dataset = (
            pack(train_dataset, section.data.max_length),
            pack(dev_dataset, section.data.max_length),
        )
        steps = max(1, len(train_dataset) // section.optim.batch_size)
    peft_model = adapt(recipe, load_base(recipe, model))
    peft_model.peft_config["default"].base_model_name_or_path = _base_name(recipe, model)
    # Padding-free batches need TRL's own collator, which it makes itself.
    collator = None if section.data.packing else PairCollator(DataCollatorForLanguageModeling(tokenizer.pad_token_id))
    trainer = FinetuneTrainer(
        model=peft_model,
        args=trl_arguments(recipe, run_path, steps),
        train_dataset=train_dataset,
        eval_dataset=dev_dataset,
        processing_class=tokenizer,
        data_collator=collator,
        objective=section.robust.objective,
        weight=section.robust.weight,
        router_lr=section.optim.router_lr,
        watch_routing=section.train.routing,
    )
    launch = section.launch
    if launch.kind != "single" and trainer.args.world_size != launch.num_processes:
        raise EngineError(
            f"{launch.num_processes} training processes were requested, but only {trainer.args.world_size} connected",
            "run it again with --debug, or with `--launch single`, which needs only one",
        )
    trainer.remove_callback(transformers.PrinterCallback)
    reporter = Reporter(run_path, steps, quiet or not trainer.is_world_process_zero())
    trainer.add_callback(reporter)
    if section.train.patience:
        trainer.add_callback(Patience(section.train.patience))
    return Setup(recipe, model, trainer, reporter, data, steps)


def _base_name(recipe: Recipe, model: LocalModel) -> str:
    """Returns the base model's name for the adapter's configuration: the hub's name, or the folder if there is none."""
    path = recipe.model.path or ""
    is_local = path == BUNDLED or Path(path).expanduser().is_dir()
    return str(model.folder.resolve()) if is_local else path


def batches(recipe: Recipe) -> tuple[int, int]:
    """Returns the rows of one pass on one process and the passes of one step. UsageError if the batch does not
    divide."""
    optim, launch = recipe.finetune.optim, recipe.finetune.launch
    processes = 1 if launch.kind == "single" else launch.num_processes
    rows_per_process, remainder = divmod(optim.batch_size, processes)
    micro_batch = optim.micro_batch or rows_per_process
    if remainder or rows_per_process % micro_batch:
        raise UsageError(
            f"finetune.optim.batch_size {optim.batch_size} does not divide into {processes} processes "
            f"x {micro_batch} rows",
            "choose micro_batch and num_processes so that it does",
        )
    return micro_batch, rows_per_process // micro_batch


def trl_arguments(recipe: Recipe, run_path: Path, steps: int) -> Any:
    """Translates the recipe's settings to TRL's. UsageError if the batch does not divide."""
    import torch
    from trl.trainer.sft_config import SFTConfig

    from llmkit.finetune.method import torch_dtype

    section = recipe.finetune
    optim, train = section.optim, section.train
    micro_batch, passes_per_step = batches(recipe)
    evaluate_every = train.eval_every or max(1, steps // 5)
    dtype, has_gpu = torch_dtype(recipe), torch.cuda.is_available()
    try:
        return SFTConfig(
            output_dir=str(run_path / "checkpoints"),
            per_device_train_batch_size=micro_batch,
            per_device_eval_batch_size=micro_batch,
            gradient_accumulation_steps=passes_per_step,
            max_steps=steps,
            learning_rate=optim.lr,
            lr_scheduler_type=optim.schedule,
            warmup_steps=optim.warmup,
            weight_decay=optim.weight_decay,
            max_grad_norm=optim.max_grad_norm,
            optim=optim.optimizer,
            loss_type=optim.loss,
            eval_strategy="steps",
            eval_steps=evaluate_every,
            save_strategy="steps",
            save_steps=evaluate_every if train.patience else train.save_every or evaluate_every,
            save_total_limit=train.keep,
            load_best_model_at_end=train.patience is not None,
            metric_for_best_model="eval_loss",
            greater_is_better=False,
            logging_steps=train.log_every,
            logging_first_step=True,
            report_to="tensorboard",
            seed=recipe.seed,
            data_seed=recipe.seed,
            bf16=dtype is torch.bfloat16,
            fp16=dtype is torch.float16 and has_gpu,
            use_cpu=not has_gpu,
            gradient_checkpointing=train.gradient_checkpointing,
            gradient_checkpointing_kwargs={"use_reentrant": False} if train.gradient_checkpointing else None,
            ddp_find_unused_parameters=False,
            remove_unused_columns=False,
            dataset_kwargs={"skip_prepare_dataset": True},
            max_length=None,
            padding_free=section.data.packing,
            disable_tqdm=True,
        )
    except ValueError as error:
        raise UsageError(f"finetune: {error}", "see finetune.optim and finetune.train") from None


def count_parameters(model: Any) -> tuple[int, int]:
    """Counts trainable and all parameters, shared ones once."""
    parameters = list(model.parameters())
    return sum(parameter.numel() for parameter in parameters if parameter.requires_grad), sum(
        parameter.numel() for parameter in parameters
    )
