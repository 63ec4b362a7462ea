"""Work on Arrow arrays that readers, transforms and the warehouse share."""
