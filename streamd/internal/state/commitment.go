package state

import (
	"cmp"
	"slices"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
)

// CommitmentTerm is how long a commitment lasts at least.
//
// Source: the API's documentation of MinimumThroughputBillingCommitmentInput.
const CommitmentTerm = 24 * time.Hour

// Commitment is an account's commitment to a minimum of throughput, which lets
// it warm its streams. It is immutable. The zero Commitment was never made.
//
// What it is worth follows from its instants and the time at which it is looked
// at: it ends by itself.
type Commitment struct {
	Started time.Time // millisecond precision
	Ended   time.Time `json:",omitzero"` // may lie ahead; zero while no end is asked for
}

// CommitmentStatus is the state of a commitment, in the API's words.
type CommitmentStatus string

// The states of a commitment.
const (
	CommitmentEnabled  CommitmentStatus = "ENABLED"
	CommitmentDisabled CommitmentStatus = "DISABLED"
	CommitmentEnding   CommitmentStatus = "ENABLED_UNTIL_EARLIEST_ALLOWED_END"
)

// Status returns the state of the commitment at the given time.
func (c Commitment) Status(now time.Time) CommitmentStatus {
	switch {
	case c.Started.IsZero():
		return CommitmentDisabled
	case c.Ended.IsZero():
		return CommitmentEnabled
	case now.Before(c.Ended):
		return CommitmentEnding
	}
	return CommitmentDisabled
}

// EarliestEnd returns when the commitment, which must have been made, can end.
func (c Commitment) EarliestEnd() time.Time { return c.Started.Add(CommitmentTerm) }

// InForce reports whether the account may warm its streams at the given time.
func (c Commitment) InForce(now time.Time) bool { return c.Status(now) != CommitmentDisabled }

// ChangeCommitment makes an account's commitment, or asks for its end, which
// comes at once or when its term is over. To make it again before then takes the
// wish back.
type ChangeCommitment struct {
	Scope  arn.Scope
	Enable bool
}

func (ChangeCommitment) command() {}

// Commitment returns the commitment of an account in a region.
func (st *State) Commitment(scope arn.Scope) Commitment { return st.commitments[scope] }

func (st *State) changeCommitment(c ChangeCommitment) {
	now := st.now()
	current := st.commitments[c.Scope]
	switch status := current.Status(now); {
	case c.Enable && status == CommitmentDisabled:
		current = Commitment{Started: now}
	case c.Enable:
		current.Ended = time.Time{}
	case status == CommitmentEnabled:
		current.Ended = current.EarliestEnd()
		if now.After(current.Ended) {
			current.Ended = now
		}
	default:
		return
	}
	st.commitments[c.Scope] = current
}

// notCommitted is the answer to an account that may not warm its streams.
func notCommitted(scope arn.Scope) error {
	return awserr.New("ValidationException", "WarmThroughputMiBps can only be set in accounts that have MinimumThroughputBillingCommitment enabled. Account %s has not enabled it in %s.", scope.Account, scope.Region)
}

// storedCommitment is a commitment in a snapshot.
type storedCommitment struct {
	Scope arn.Scope
	Commitment
}

func (st *State) storedCommitments() []storedCommitment {
	var stored []storedCommitment
	for scope, c := range st.commitments {
		stored = append(stored, storedCommitment{scope, c})
	}
	slices.SortFunc(stored, func(a, b storedCommitment) int {
		return cmp.Or(cmp.Compare(a.Scope.Account, b.Scope.Account), cmp.Compare(a.Scope.Region, b.Scope.Region))
	})
	return stored
}
