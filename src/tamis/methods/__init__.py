"""Training methods: one file each, found by a scan of this package."""

from tamis.methods.base import METHODS as METHODS
from tamis.methods.base import Losses as Losses
from tamis.methods.base import Method as Method
from tamis.methods.base import TwoNetworks as TwoNetworks
from tamis.methods.base import Verdict as Verdict
from tamis.methods.batches import Batch as Batch
from tamis.methods.batches import Moment as Moment
from tamis.methods.batches import Pass as Pass
from tamis.methods.batches import Stream as Stream
from tamis.methods.material import Material as Material
from tamis.methods.material import Scan as Scan
from tamis.methods.plugin import PLUGINS as PLUGINS
from tamis.methods.plugin import FirstStage as FirstStage
from tamis.methods.plugin import Plugin as Plugin
from tamis.methods.plugin import Seen as Seen
from tamis.methods.recipe import Recipe as Recipe
