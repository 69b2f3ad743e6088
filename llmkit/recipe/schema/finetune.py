"""`finetune`: repair in the weights."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from llmkit.recipe.schema.base import LATER, NEUTRAL, Section


class SourceSection(Section):
    """One set of training rows: a task's train split, or a file."""

    task: str | None = None
    """A name from `llmkit data ls`; its train split is used, its dev split for evaluation, its test split never."""
    path: str | None = None
    """A JSON or JSONL file: chats (`messages`), `prompt` and `completion`, or LLM-Adapters rows."""
    form: Annotated[Literal["llmkit", "llm_adapters"], LATER] = "llmkit"
    """How a task's rows are put. `llmkit`: as every arm of `llmkit eval` asks. `llm_adapters`: the prompt and answers
    of LLM-Adapters (arXiv 2304.01933), without a chat template, as the arm `llm_adapters` asks; the commonsense sets
    have that form."""
    weight: float = Field(1.0, gt=0)
    """Rows per epoch, as a multiple of the source's size: 0.5 draws half of it anew each epoch, 2 takes it twice."""
    limit: int | None = Field(None, ge=1)
    """At most this many rows."""
    levels: Annotated[tuple[Annotated[int, Field(ge=1, le=4)], ...], LATER] = ()
    """Numbers of steps drawn by the task `arithmetic`. Default: `data.levels`."""
    correction: Annotated[float | None, LATER] = Field(None, ge=0, le=1)
    """Share of this source's rows that ask for a correction. Default: `finetune.data.correction.share`."""


class CorrectionSection(Section):
    """Rows that teach correction: a noisy question under a correction instruction, answered by the clean question."""

    share: float = Field(0.0, ge=0, le=1)
    """Share of the question rows that ask for a correction instead of an answer."""
    operators: tuple[str, ...] = ("ec", "sc", "woo", "hw", "uic")
    """One is drawn for each noisy copy."""
    rate: float | Literal["paper"] = 0.3
    """Share of words changed."""
    clean: float = Field(0.1, ge=0, le=1)
    """Share of these rows whose question is clean already: they teach to leave such a question alone."""
    reword: Annotated[float, LATER] = Field(0.0, ge=0, le=1)
    """Share of the words that are exchanged for others, in the noisy text and in the clean one: what such texts usually
    say is no help then, and the correction has to be read off the letters."""
    form: Annotated[Literal["text", "words"], LATER] = "text"
    """The answer that is taught. `text`: the whole clean question, under a correction instruction, as the arms of `rop`
    ask. `words`: only the words whose spelling is in doubt, as the corrector `adapter` asks."""


class TrainingData(Section):
    """What is trained on, and how a row becomes tokens. The top-level `data` says where sets lie, and its sizes."""

    sources: tuple[SourceSection, ...] = ()
    """Default: the train split of `data.task`."""
    max_length: int = Field(1024, ge=16)
    """Longest row, in tokens."""
    too_long: Literal["error", "drop", "truncate"] = "error"
    """What to do with longer rows. `truncate` cuts the end, so that such a row teaches no end of sequence."""
    completion_only: bool = True
    """Learn the answers only, not the questions."""
    packing: bool = False
    """Fill each sequence with several rows (best fit); rows do not see each other."""
    group_by_length: bool = True
    """Batches of rows of similar length: less padding, the same rows in each epoch."""
    dev_share: float = Field(0.05, gt=0, lt=1)
    """Share of a file that is held out for evaluation. Tasks have their own dev split."""
    dev_limit: int = Field(64, ge=1)
    """At most this many rows of each source are evaluated on during training."""
    correction: CorrectionSection = CorrectionSection()
    guided: Annotated[float, LATER] = Field(0.0, ge=0, le=1)
    """Share of the answers that are asked for under one of the hand-written guidance instructions, as `llmkit rop`
    asks, instead of in plain words."""

    @property
    def corrects(self) -> bool:
        """Whether any row may ask for a correction."""
        return self.correction.share > 0 or any(source.correction for source in self.sources)


class RobustSection(Section):
    """Noise in training. Noisy copies are drawn anew each epoch."""

    objective: Literal["augment", "pairs", "consistency", "rdrop"] = "augment"
    """`augment`: a share of the questions is noisy. `pairs`: each question twice, clean and noisy. `consistency`:
    pairs, and both views are drawn to their mean prediction (arXiv 2505.17999, with noise as the second view).
    `rdrop`: each row twice, with different dropout (arXiv 2106.14448)."""
    share: float = Field(0.0, ge=0, le=1)
    """Share of the questions, or of the second views, that are noisy."""
    operators: tuple[str, ...] = ("ec", "sc", "woo", "hw", "uic")
    """One is drawn for each noisy copy."""
    rate: float | Literal["paper"] = "paper"
    """Share of words changed; `paper` is the strength measured on the RoP paper's own data."""
    weight: float = Field(1.0, ge=0)
    """Weight of the consistency term, or of R-Drop's divergence."""


class OptimSection(Section):
    """The optimiser and its schedule."""

    lr: float = Field(2e-4, gt=0)
    """The learning rate."""
    router_lr: float | None = Field(None, gt=0)
    """Another learning rate for routers and talking matrices."""
    schedule: str = "linear"
    """Any schedule of transformers: linear, cosine, constant_with_warmup …"""
    warmup: float = Field(0.03, ge=0)
    """Warm-up steps; below 1, a share of all steps."""
    weight_decay: float = Field(0.0, ge=0)
    """Weight decay of the optimiser."""
    optimizer: str = "adamw_torch"
    """Any optimiser of transformers."""
    batch_size: int = Field(16, ge=1)
    """Rows of one optimiser step, over all processes."""
    micro_batch: int | None = Field(None, ge=1)
    """Rows of one forward pass on one process. Default: all of a step's."""
    epochs: float = Field(1.0, gt=0)
    """Passes over the training rows."""
    max_steps: int | None = Field(None, ge=1)
    """Ends training early; the schedule ends there too."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Gradients are scaled down to this norm."""
    loss: str = "nll"
    """TRL's loss types: nll, dft."""


class TrainSection(Section):
    """The run itself."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of the base model. `auto`: bfloat16 on a GPU, float32 on a CPU. Adapters are float32."""
    load_in: Literal["none", "8bit", "4bit"] = "none"
    """Quantise the base model with bitsandbytes."""
    gradient_checkpointing: bool = False
    """Compute activations twice instead of keeping them: less memory, more time."""
    eval_every: int | None = Field(None, ge=1)
    """Steps between two evaluations on dev rows. Default: five in all."""
    patience: int | None = Field(None, ge=1)
    """Stop after this many evaluations without a better dev loss, and keep the best. Default: train to the end."""
    save_every: int | None = Field(None, ge=1)
    """Steps between two checkpoints. Default: at each evaluation."""
    keep: Annotated[int, NEUTRAL] = Field(2, ge=1)
    """Checkpoints kept."""
    log_every: Annotated[int, NEUTRAL] = Field(5, ge=1)
    """Steps between two log lines."""
    routing: Annotated[bool, NEUTRAL] = True
    """Write what the routers do: numbers and a heat map."""


class LaunchSection(Section):
    """Several processes, by accelerate."""

    kind: Literal["single", "ddp", "fsdp2", "zero2", "zero3"] = "single"
    """How the work is shared by several processes."""
    num_processes: int = Field(1, ge=1, le=1_024)
    """Processes that train, one for each GPU."""


class FinetuneSection(Section):
    """Supervised fine-tuning with any PEFT method."""

    method: str = "talklora"
    """talklora, talklora-released, moelora, hydralora, or any method of PEFT: lora, dora, lily, hira …"""
    r: int = Field(16, ge=1)
    """The rank of the adapter."""
    num_experts: int = Field(4, ge=1)
    """Experts of TalkLoRA and its relatives; other methods have none."""
    alpha: float = Field(16.0, gt=0)
    """The adapter's output is scaled by alpha / r."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout on the adapter's input."""
    target_modules: tuple[str, ...] | str = ("q_proj", "k_proj", "v_proj", "up_proj", "down_proj")
    """Names, a regular expression, or `all-linear`."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Any other field of the method's PEFT configuration."""
    data: TrainingData = TrainingData()
    robust: RobustSection = RobustSection()
    optim: OptimSection = OptimSection()
    train: TrainSection = TrainSection()
    launch: Annotated[LaunchSection, NEUTRAL] = LaunchSection()
