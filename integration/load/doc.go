// Package load is the parent of what measures streamd from outside:
//
//   - nullserver answers in the right shape and does nothing, which gives the
//     cap of a row;
//   - gen puts load on any server, through the AWS SDK or raw, and on the disk;
//   - bench has the rows, runs them beside their caps and limits and judges;
//   - cmd has the two programs: nullserver, and loadbench, which is `make bench`.
//
// How to run and to read it is in docs/performance.md.
package load
