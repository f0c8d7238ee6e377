package main

import (
	"bytes"
	"os"
	"testing"
)

func TestUpToDate(t *testing.T) {
	is, err := os.ReadFile("../blocks_amd64.s")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(is, generate()) {
		t.Error("blocks_amd64.s is not what the generator writes; run go generate in its directory")
	}
}
