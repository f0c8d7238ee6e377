package peers

import "sync/atomic"

// Stats are counts since the start of a [Mesh]; the last five are of now.
type Stats struct {
	BeatsSent, AcksReceived int64 // as one that is watched
	BeatsReceived           int64 // as a watcher
	LateAcks                int64 // acknowledgements of beats of long ago, without effect
	Connects, Disconnects   int64 // links to watchers that came about, and broke
	FailedCalls             int64 // that did not come about
	StalledLinks            int64 // closed because nothing came over them
	Strangers               int64 // calls that another process has answered
	Declarations            int64 // changes of the set of watchers

	Pauses, Resumes int64 // of this worker
	Stalls          int64 // times that this process has stood still

	Suspicions      int64 // of others
	Probes          int64 // calls to find out whether an address refuses them
	Asked           int64 // questions to other watchers
	Unanswered      int64 // those without an answer
	Votes           int64 // given to others
	Learnt          int64 // declarations that another watcher has brought
	Recovered       int64 // suspicions that came to nothing, as the other lived
	Unconfirmed     int64 // suspicions that were left to the table
	Verdicts        int64 // deaths that all watchers have confirmed
	VerdictsDropped int64 // verdicts that were not reported, as too many callbacks waited

	HintsSent, HintsReceived int64
	HintsDropped             int64 // not sent, or not reported

	InvalidMembers int64 // of lists, left out
	AcceptErrors   int64
	Rejected       int64 // incoming connections that did not prove themselves
	CrowdedOut     int64 // the same, closed because too many waited
	Refused        int64 // incoming connections and declarations beyond the bounds
	Malformed      int64 // frames that were forged or make no sense; each ends its connection
	Broken         int64 // connections that ended in an error
	IdleClosed     int64 // incoming connections on which nothing came

	Members  int // of the list, without this worker
	Links    int // to watchers that are up
	Watchers int // that may vote on this worker
	Watched  int // on which this worker may vote
	Incoming int // connections
}

type counters struct {
	beatsSent, acksReceived, beatsReceived, lateAcks, connects, disconnects, failedCalls, stalledLinks, strangers, declarations,
	pauses, resumes, stalls, suspicions, probes, asked, unanswered, votes, learnt, recovered, unconfirmed, verdicts, verdictsDropped,
	hintsAsked, hintsSent, hintsReceived, hintsDropped, invalidMembers, acceptErrors, rejected, crowdedOut, refused, malformed, broken, idleClosed atomic.Int64
}

// Stats returns the present counts. Each is exact; they are not read at one
// moment.
func (m *Mesh) Stats() Stats {
	s := &m.stats
	st := Stats{
		BeatsSent: s.beatsSent.Load(), AcksReceived: s.acksReceived.Load(), BeatsReceived: s.beatsReceived.Load(),
		LateAcks: s.lateAcks.Load(), Connects: s.connects.Load(), Disconnects: s.disconnects.Load(), FailedCalls: s.failedCalls.Load(),
		StalledLinks: s.stalledLinks.Load(), Strangers: s.strangers.Load(), Declarations: s.declarations.Load(),
		Pauses: s.pauses.Load(), Resumes: s.resumes.Load(), Stalls: s.stalls.Load(),
		Suspicions: s.suspicions.Load(), Probes: s.probes.Load(), Asked: s.asked.Load(), Unanswered: s.unanswered.Load(),
		Votes: s.votes.Load(), Learnt: s.learnt.Load(), Recovered: s.recovered.Load(), Unconfirmed: s.unconfirmed.Load(),
		Verdicts: s.verdicts.Load(), VerdictsDropped: s.verdictsDropped.Load(),
		HintsSent: s.hintsSent.Load(), HintsReceived: s.hintsReceived.Load(), HintsDropped: s.hintsDropped.Load(),
		InvalidMembers: s.invalidMembers.Load(), AcceptErrors: s.acceptErrors.Load(), Rejected: s.rejected.Load(),
		CrowdedOut: s.crowdedOut.Load(), Refused: s.refused.Load(), Malformed: s.malformed.Load(), Broken: s.broken.Load(), IdleClosed: s.idleClosed.Load(),
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	st.Members, st.Watchers, st.Watched, st.Incoming = len(m.members), len(m.own.active.set), len(m.watched), len(m.incoming)
	for _, l := range m.links {
		if l.up {
			st.Links++
		}
	}
	return st
}
