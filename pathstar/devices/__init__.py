"""The only modules that name devices or processes: the mesh, what crosses it, the processes of a job, and random numbers."""
