"""Studies: a search for hyper-parameters, asked and told by one process, run by any launcher."""
