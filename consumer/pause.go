package consumer

// Pause keeps the worker from handing records of a shard to its processor, until
// Resume: the call that it is in goes on, and with Config.KeyConcurrency those
// are, and then there is no other. Nor is the shard read on; what was read ahead, of
// up to three reads, stays in memory, and counts against Config.MaxBufferedBytes. The
// lease stays, and is renewed. Records that arrive meanwhile wait in the stream, so a
// pause must be shorter than the stream's retention. At the stop a paused shard is let
// go as it is; with Config.KeyConcurrency, records that one lane has handled before
// those of another come again then, to whoever has the shard next.
//
// The shard need not be held: the pause is for the time when it is. It is this
// worker's alone; another that comes to hold the shard reads on.
func (c *Consumer) Pause(shardID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.paused[shardID] == nil {
		c.paused[shardID] = make(chan struct{})
	}
}

// Resume undoes Pause. It has no effect on a shard that is not paused.
func (c *Consumer) Resume(shardID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if resumed := c.paused[shardID]; resumed != nil {
		close(resumed)
		delete(c.paused, shardID)
		if h := c.held[shardID]; h != nil {
			h.progress.set() // it had no reason to move
		}
	}
}

// gate returns a channel that is closed when a shard is resumed, or nil if it is
// not paused.
func (c *Consumer) gate(shardID string) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.paused[shardID]
}
