"""The demonstration: an alliance of twelve merchants over three months, from the first earn to the audited
settlement."""
