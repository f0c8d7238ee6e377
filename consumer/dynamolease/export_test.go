package dynamolease

// Encode and Decode open how a lease is stored to tests.
var (
	Encode = encode
	Decode = decode
)
