"""Import ground truth from the files of other projects."""
