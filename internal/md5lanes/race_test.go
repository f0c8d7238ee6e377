//go:build race

package md5lanes_test

const raceEnabled = true
