// Package benchmarks holds the log appender beside other ways to write a log, by the
// scenarios of zap's own suite. It is a module of its own so that what it compares
// with does not come to users of the appender.
//
//	make microbench PKG=./logappender                          # the appender alone
//	cd logappender/benchmarks && go test -bench . -benchmem    # beside others
//	cd logappender/benchmarks && go test -bench Ratio -benchtime 200x
//
// The times of BenchmarkCall are those of a clock, and worth nothing on a machine
// that does other things. BenchmarkRatio takes turns with zap, and divides what CPU
// time the process has used for one by what it has used for the other.
package benchmarks
