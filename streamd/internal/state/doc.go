// Package state is the state machine of streamd: what the journal's frames
// add up to. Applying a frame is a pure function of the state and the frame,
// so every reader of one journal arrives at the same state.
package state
