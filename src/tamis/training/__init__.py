"""Training as a whole job: data, network, method, verdict, run folder."""

from tamis.training.model import TrainedModel as TrainedModel
from tamis.training.predicting import predictions as predictions
from tamis.training.predicting import write_embeddings as write_embeddings
from tamis.training.train import train as train
