// Package peers lets the workers of an application watch each other over the
// network, so that the death of one is known in under a second, or in two and a
// half if its host goes with it, without a write to any table.
//
// It says when to look; the table decides. It knows no table, and the safety of
// stored positions does not depend on it: those are written conditionally. What
// it adds to that is that two workers do not act on one lease at the same time,
// in the usual case that a death is what it seems to be.
//
// # The net
//
// Each worker is an owner, and is watched by up to three others: those that come
// first by a hash of both names, among those that answer. The owner calls its
// watchers, and sends each a beat of 16 bytes every 250 ms; the watcher
// acknowledges. Everything else goes over connections that are made for it.
//
//	owner ─ beat, every 250 ms ─▶ watcher A      a fault: the connection is closed,
//	      ◀─────── acknowledged ─                or nothing comes for 1.5 s
//	      ─ beat ─▶ watcher B                    A ─ dead? ─▶ B, C
//	      ─ beat ─▶ watcher C                    A ◀─ yes ─── B, C ──▶ verdict
//
// # When a death is confirmed
//
// A watcher votes for a death in one of two cases.
//
//   - It has acknowledged nothing for 1.5 s: a host is lost, or cut off.
//   - The connection was closed 400 ms ago, and the owner's address has refused a
//     call since, or another process of the same name answers there: a process
//     has ended.
//
// A verdict takes the votes of all the owner's watchers. If one of them cannot
// be asked, because it died in the same moment, there is none, and it is left to
// the table to find out.
//
// # How an owner knows that there is no verdict on it
//
// An owner may act for 1.2 s from when it sent the last beat that any of its
// watchers has acknowledged. After that it must pause, see [Mesh.Active] and
// Config.OnPause. So it has paused when they vote, as long as clocks differ in
// rate by less than a tenth: no instant of one clock is compared with one of
// another. If all connections are closed it pauses 50 ms later; it meets such a
// close at its next beat at the latest, and the watchers wait for 400 ms.
//
// A vote binds: who has voted acknowledges nothing any more. Otherwise the
// votes, which come at different moments, could be counted while the owner is
// acknowledged again by the first that has voted.
//
// # How an owner changes its watchers
//
// It declares the set to all in it, under a number, its epoch, that grows. Votes
// are for one epoch. While the new set is being told, the owner may act only as
// long as both sets let it, as either may come to a verdict. It leaves the old
// set behind as soon as one watcher of it, that has not voted, knows of the new
// one: that one will not vote in the old epoch any more, and without it there is
// no verdict. An owner that dies in between is known by the newer set all the
// same: who asks for a vote brings the declaration along, to those who have heard
// of an older one.
//
// A watcher that stops says so, and takes no part any more; an owner that stops
// asks not to be watched. So a planned stop is no fault to anybody.
//
// # Pause, verification, terms
//
// Acknowledgements do not end a pause: there may have been a verdict in the
// meantime. The worker has to ask the table. For that its time is divided into
// terms, which everybody finds in the table.
//
//	worker:   pause ─ store term + 1 ─ write to each lease ─ Resume(term + 1)
//	rescuer:  verdict on term ─ list leases ─ read the stored term; another: void ─ take leases as listed
//
// Either the rescuer reads the new term, or it has read the leases before the
// worker wrote to them and its takes are refused. So a verdict may be acted upon
// at any time, however late. After [Mesh.Resume] nobody watches the worker, and
// it declares itself anew when somebody answers; if pauses follow each other it
// waits longer each time, because each costs a write for each lease.
//
// # Trust
//
// Both sides of a connection prove that they know the secret of the one that is
// called, by HMAC-SHA256 over random numbers of both. Each frame carries a tag
// under a key of that connection and direction, and its count. What a stranger
// can do is to open connections: there are bounds for how many are kept, for how
// long, and what is read from them. What a worker sends that has gone mad, or is
// of another version, ends its connection, or is a hint that costs somebody a
// look at the table.
//
// # What it cannot do
//
// A device on the way that answers for a worker, with refusals, while it swallows
// what the worker sends, can make it look dead to all its watchers 1.2 s before
// it notices; commits are refused then, and records are repeated. The same goes for
// a machine that sleeps and whose monotonic clock sleeps with it.
package peers
