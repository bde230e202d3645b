"""From the output of a net to a result: steps on named maps, each a plain function below."""
