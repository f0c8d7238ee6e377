//go:build race

package md5pair_test

const raceEnabled = true
