// Package benchmarks holds the agent beside another way to read the lines of a file.
// It is a module of its own so that what it compares with does not come to users of
// the agent.
//
//	cd agent/benchmarks && go test -bench . -benchmem
//
// Each reads a file of lines of 200 bytes once, from its start to its end, and does
// nothing with them: the agent acknowledges at once, the library's lines are counted,
// and cat writes to nowhere. The agent keeps a position, too.
//
// Beside the time there is the CPU time of a line, of the process and those that it
// has waited for, which says more on a machine that does other things.
package benchmarks
