package limits

// Entries returns how many shards the limiter remembers.
func (l *Limiter) Entries() int { return len(l.shards.entries) }
