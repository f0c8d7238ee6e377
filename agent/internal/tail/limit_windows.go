package tail

// OpenLimit returns how many files this process may have open: as many as memory
// allows, so some number.
func OpenLimit() int { return 8192 }
