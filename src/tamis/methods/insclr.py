"""InsCLR: embeddings for instance retrieval from pseudo labels, mined in batch and memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from tamis.errors import InputError
from tamis.losses.thresholded_contrastive import IndexTuple, ThresholdedContrastiveLoss
from tamis.memory.dataset_memory import DatasetMemory
from tamis.methods.base import METHODS, BuildNetwork, Losses, Method
from tamis.methods.batches import Batch, Moment, Pass, Stream
from tamis.methods.embedding import EmbeddingMethod
from tamis.methods.material import Material, Scan
from tamis.methods.recipe import Recipe
from tamis.neighbors import nearest_neighbors
from tamis.registry import Facts
from tamis.samplers import shuffled
from tamis.statistics.candidate_pool import MemoryBatch, Pool, candidate_pool, random_negatives
from tamis.statistics.mined_labels import mine_labels
from tamis.statistics.rejected_neighbors import reject_unlike
from tamis.statistics.traversal import parse_mode

PoolSource: TypeAlias = Literal["auto", "features", "network"]
"""What the first pool is searched in."""


@METHODS.register(
    "insclr",
    Facts(
        "InsCLR: instance retrieval without labels, positives mined from neighbours",
        task="retrieval",
        inputs=("any",),
        year=2022,
        paper="Deng, Zhong, Guo, Huang. InsCLR: improving instance retrieval with self-supervision. AAAI "
        "2022.",
    ),
)
class InsCLR(EmbeddingMethod):
    """Neighbours of a first search are positives; a memory of the whole data set brings more of both kinds.

    The run is cut into stages. Each begins with a search for the nearest samples of every sample (the pool):
    in frozen features first, in the network's own embeddings later. A batch is made of anchors, each with its
    nearest samples from the pool. Early stages draw negatives from the memory; in the last stage neighbours
    that are not like their anchor any more are rejected, and more positives are found by walking through the
    pool from sample to sample.

    Given labels play no part, unless ``use_labels``; all rows are trained on, labelled or not, selected or
    not.

    Parameters
    ----------
    build, n_samples, n_classes, embedding_size
        As for `EmbeddingMethod`.
    neighbors : int
        Nearest samples that come with each anchor.
    stages : int
        The last one mines; 1 = mining from the start. The authors: 4 on GLDv2.
    pool : {"auto", "features", "network"}
        Of the first stage: frozen features of the inputs, or what the network's backbone makes of them before
        training. "auto": features if they are there already.
    pool_size : int
    positive_threshold, negative_threshold : float
        Similarities: of the pool, more alike are positives of the last stage, less alike negatives; the walk
        decides between them. The authors: 0.75, 0.5 on GLDv2; 0.95, 0.65 on INSTRE.
    mode : str
        Of the walk; see `tamis.statistics.traversal.parse_mode`.
    batch_threshold : float
        Least similarity of a neighbour to its anchor in the last stage.
    use_labels : bool
        Until the last stage, a neighbour with another given label than its anchor's is no positive.
    n_excluded : int
        Nearest samples in the pool that are no negatives in the early stages; about as many as an instance
        has.
    memory_size : int
        Rows of the memory that a batch is compared with.
    use_negatives : bool
        Whether the last stage takes negatives from the memory, too.
    memory_weight : float
        Of the loss against the memory, beside the loss within the batch.
    warmup : float
        Epochs at the start in which the memory is filled, and not compared with.
    margin, positive_margin : float
        See `ThresholdedContrastiveLoss`.

    Notes
    -----
    Between two groups of a batch, samples that the pool holds for likely the same instance are no negatives
    of each other, nor is a sample of itself; of mined rows those that would be are left out. The authors'
    data are so large that this hardly happens.
    """

    recipe = Recipe(epochs=40, batch_size=64, optimizer="adam", lr=3e-4, weight_decay=1e-4)
    views = ("weak", "none")
    nearest: Tensor
    boundaries: Tensor

    def __init__(
        self,
        build: BuildNetwork,
        *,
        n_samples: int,
        n_classes: int,
        embedding_size: int = 128,
        neighbors: int = 3,
        stages: int = 2,
        pool: PoolSource = "auto",
        pool_size: int = 500,
        positive_threshold: float = 0.75,
        negative_threshold: float = 0.5,
        mode: str = "b+i_tr4_avg0.60_k05",
        batch_threshold: float = 0.6,
        use_labels: bool = False,
        n_excluded: int = 50,
        memory_size: int = 100_000,
        use_negatives: bool = True,
        memory_weight: float = 1.0,
        warmup: float = 1.0,
        margin: float = 0.4,
        positive_margin: float = 0.0,
    ) -> None:
        super().__init__(build, n_samples=n_samples, n_classes=n_classes, embedding_size=embedding_size)
        _refuse_counts(neighbors=neighbors, stages=stages, pool_size=pool_size, memory_size=memory_size)
        for name, value in (("n_excluded", n_excluded), ("memory_weight", memory_weight), ("warmup", warmup)):
            if not value >= 0:
                raise InputError(f"{name} is {value}; expected 0 or more")
        if pool not in get_args(PoolSource):
            raise InputError(f"pool is {pool!r}; expected 'auto', 'features' or 'network'")
        if n_samples < 2:
            raise InputError(f"there is {n_samples} sample; neighbours need two at least")
        self.pool_size = min(pool_size, n_samples - 1)
        self.n_neighbors, self.stages, self.pool_source = min(neighbors, self.pool_size), stages, pool
        self.thresholds = {"positive_threshold": positive_threshold, "negative_threshold": negative_threshold}
        self.walk, self.batch_threshold, self.use_labels = parse_mode(mode), batch_threshold, use_labels
        self.n_excluded, self.memory_size, self.use_negatives = n_excluded, memory_size, use_negatives
        self.memory_weight, self.warmup = memory_weight, warmup
        self.loss = ThresholdedContrastiveLoss(
            margin=margin, positive_margin=positive_margin, normalize=False
        )
        self.memory = DatasetMemory(n_samples, embedding_size)
        self.register_buffer("nearest", torch.full((n_samples, self.pool_size), -1))
        self.register_buffer("boundaries", torch.zeros(2, n_samples, dtype=torch.int64))

    def prepare(self, material: Material, scan: Scan) -> None:
        """Search the first pool."""
        Method.prepare(self, material, scan)
        is_given = self.pool_source == "auto" and material.has_features
        if is_given or self.pool_source == "features":
            self._search(material.features())
        else:
            self._search(torch.cat([block.outputs.features for block in scan.blocks(self.network)]))

    def optimizers(self, recipe: Recipe) -> dict[str, torch.optim.Optimizer]:
        """Return one optimiser; the stages are parts of the run."""
        self._starts = [recipe.epochs * stage // self.stages for stage in range(self.stages)]
        return super().optimizers(recipe)

    def plan_epoch(self, epoch: int, scan: Scan) -> Sequence[Pass]:
        """Return one pass of anchors, each followed by its neighbours; a stage begins with a new pool."""
        if epoch > 0 and epoch in self._starts:
            self._search(self.embeddings(scan))
        is_last = epoch >= self._starts[-1]
        nearest = self.nearest[:, : self.n_neighbors].cpu()
        rows = (nearest >= 0).all(dim=1).nonzero()[:, 0].numpy()
        if not len(rows):
            raise InputError("no row has neighbours: all embeddings but one at most are rows of zeros")
        anchors = torch.from_numpy(shuffled(rows, seed=self.known.seed, epoch=epoch))
        index = torch.cat([anchors[:, None], nearest[anchors]], dim=1)
        size = max(1, self.known.batch_size // (1 + self.n_neighbors)) * (1 + self.n_neighbors)
        stream = Stream(index.flatten(), self.views, batch_size=size, drop_last=True)
        return [Pass({"train": stream}, "mining" if is_last else "early")]

    def training_step(self, batches: Mapping[str, Batch], moment: Moment) -> Losses:
        """Return the contrastive loss of pseudo labels within the batch, and against the memory."""
        batch = batches["train"]
        embeddings = self.embed(batch.inputs)
        with torch.no_grad():
            plain = self.embed(batch.views[1])
        # Thresholds are compared with cosines: half precision would round these to steps of 0.004.
        with torch.autocast(plain.device.type, enabled=False):
            return self._loss(embeddings, plain, batch, moment)

    def _loss(self, embeddings: Tensor, plain: Tensor, batch: Batch, moment: Moment) -> Tensor:
        is_mining = moment.phase == "mining"
        anchors = batch.index.view(-1, 1 + self.n_neighbors)[:, :1]
        groups = (anchors + 1).expand(-1, 1 + self.n_neighbors).flatten()
        labels = groups if not is_mining else reject_unlike(plain, groups, threshold=self.batch_threshold)
        if self.use_labels and not is_mining:
            labels = self._without_other_labels(groups, batch.labels)
        likely = self._likely(batch.index, is_mining)
        self.note(kept=(labels > 0).float().mean())
        total: Tensor = self.loss(embeddings, labels, _pairs(batch.index, labels, groups, likely))
        self.memory.store(batch.index, embeddings.detach(), plain)
        if self.memory_weight and moment.progress >= self.warmup:
            rows = self._remembered(batch.index, labels, likely, moment)
            remembered = self.memory.features[rows.index]
            against = self.loss(embeddings, labels, ref_emb=remembered, ref_labels=rows.labels)
            total = total + self.memory_weight * against
        return total

    @property
    def _pool(self) -> Pool:
        return Pool(self.nearest, self.boundaries[0], self.boundaries[1])

    def _search(self, features: Tensor) -> None:
        rows = features.float()
        found = nearest_neighbors(rows, k=self.pool_size, allow_zero=True, device=str(rows.device))
        nearest = torch.from_numpy(found.indices)
        pool = candidate_pool(nearest, torch.from_numpy(found.similarities), **self.thresholds)
        self.nearest.copy_(nearest)
        self.boundaries.copy_(torch.stack([pool.positive_boundary, pool.negative_boundary]))

    def _likely(self, index: Tensor, is_mining: bool) -> Tensor:
        """Return which samples the pool holds for likely of the same instance, (B, N) bool."""
        limit = self.boundaries[1, index] if is_mining else torch.full_like(index, self.n_excluded)
        near = self.nearest[index]
        is_near = (torch.arange(self.pool_size, device=near.device) < limit[:, None]) & (near >= 0)
        likely = torch.zeros((len(index), self.n_samples + 1), dtype=torch.bool, device=near.device)
        # What is not near goes to a column of its own, which is cut off.
        likely.scatter_(1, torch.where(is_near, near, self.n_samples), True)
        return likely[:, :-1].scatter_(1, index[:, None], True)

    def _without_other_labels(self, groups: Tensor, given: Tensor) -> Tensor:
        of_anchor = given.view(-1, 1 + self.n_neighbors)[:, :1].expand(-1, 1 + self.n_neighbors).flatten()
        is_other = (given != of_anchor) & (given >= 0) & (of_anchor >= 0)
        own = -1 - torch.arange(len(groups), device=groups.device)
        return torch.where(is_other, own, groups)

    def _remembered(self, index: Tensor, labels: Tensor, likely: Tensor, moment: Moment) -> MemoryBatch:
        draws = {"size": self.memory_size, "seed": moment.seed, "step": moment.step}
        stored = self.memory.is_stored
        if moment.phase != "mining":
            return random_negatives(self._pool, stored, index, n_excluded=self.n_excluded, **draws)
        rows = mine_labels(
            self._pool,
            self.memory.plain,
            stored,
            index,
            labels,
            mode=self.walk,
            use_negatives=self.use_negatives,
            **draws,
        )
        is_anchor = labels > 0
        differs = labels[is_anchor, None] != rows.labels[None, :]
        keep = ~(likely[is_anchor][:, rows.index] & differs).any(dim=0)
        self.note(mined=(keep & (rows.labels <= self.n_samples)).sum().float())
        return MemoryBatch(rows.index[keep], rows.labels[keep])


def _pairs(index: Tensor, labels: Tensor, groups: Tensor, likely: Tensor) -> IndexTuple:
    """Return positives and negatives; between two groups, what is likely the same instance is neither."""
    is_same_sample = index[:, None] == index[None, :]
    is_positive = (labels[:, None] == labels[None, :]) & ~is_same_sample
    among = likely[:, index]
    is_unclear = (among | among.T) & (groups[:, None] != groups[None, :])
    is_negative = (labels[:, None] != labels[None, :]) & ~is_unclear & ~is_same_sample
    return *is_positive.nonzero(as_tuple=True), *is_negative.nonzero(as_tuple=True)


def _refuse_counts(**counts: int) -> None:
    for name, value in counts.items():
        if value < 1:
            raise InputError(f"{name} is {value}; expected at least 1")
