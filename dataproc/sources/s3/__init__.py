"""Objects of S3: how to reach a bucket, list it, and read one version of an object."""
