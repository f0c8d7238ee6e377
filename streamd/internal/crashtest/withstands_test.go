package crashtest_test

// What the suite could do to the store and does not, because the store does not
// withstand it, and rows of the fault table that it does not meet. Each is to be
// made true, and then to go.

// killedBeforeSyncDir lets a process be killed between the renaming of a
// file and the sync of its directory.
//
// If that file is a snapshot, the next process starts from it and writes over
// what it makes superfluous in the ring, without ever syncing its name. A power
// cut then brings back the snapshot before it, whose frames are gone, and the
// store does not open.
const killedBeforeSyncDir = false

// findsBothFrames says that recovery looks at every frame of a position. It looks
// at the first: one that a crash has torn as the first of its file hides the
// whole one that was acknowledged in its place.
const findsBothFrames = false
