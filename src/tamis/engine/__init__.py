"""The training loop, on Lightning Fabric."""

from tamis.engine.evaluation import Evaluation as Evaluation
from tamis.engine.evaluation import predicted as predicted
from tamis.engine.examples import ChosenExamples as ChosenExamples
from tamis.engine.examples import DecodedExamples as DecodedExamples
from tamis.engine.examples import Examples as Examples
from tamis.engine.examples import ResidentExamples as ResidentExamples
from tamis.engine.fabric import in_fastest_layout as in_fastest_layout
from tamis.engine.fabric import launch as launch
from tamis.engine.fabric import make_fabric as make_fabric
from tamis.engine.feeding import Feeder as Feeder
from tamis.engine.feeding import View as View
from tamis.engine.settings import Settings as Settings
from tamis.engine.training import Training as Training
