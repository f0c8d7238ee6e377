// Package linearcheck runs many clients against streamd's tables while its
// process is stopped, killed and started again, and asks porcupine whether all
// that the clients saw could have happened one after the other.
//
// It is a module of its own, so that the checker is no dependency of the
// project.
//
// Everything but the scheduling of goroutines follows from a seed, which a
// failure prints.
package linearcheck
