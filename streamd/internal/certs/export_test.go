package certs

// Again reads a file that holds a certificate and its key, and writes it again.
func Again(b []byte) ([]byte, error) {
	p, err := parsePair(b)
	if err != nil {
		return nil, err
	}
	return pairPEM(p)
}
