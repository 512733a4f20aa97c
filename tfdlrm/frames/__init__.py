"""From the frames of a data scientist to what the models take, and to a served model.

`tfdlrm.FeatureEncoder` turns frames into the inputs of a model; `tfdlrm.DLRMClassifier`
trains one with the conventions of scikit-learn.
"""
