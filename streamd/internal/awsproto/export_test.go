package awsproto

// JSON11 is the codec of application/x-amz-json-1.1.
var JSON11 = json11

// CBOR11 is the codec of application/x-amz-cbor-1.1.
var CBOR11 = cbor11

// ParseAuthorization returns the parts of an Authorization header.
func ParseAuthorization(header string) (credential, signedHeaders, signature string) {
	s := parseAuthorization(header)
	return s.Credential, s.SignedHeaders, s.Signature
}

// ScopeOf returns account and region of a credential.
func ScopeOf(credential string) (account, region string, err error) {
	scope, e := scopeOf(credential)
	if e != nil {
		return "", "", e
	}
	return scope.Account, scope.Region, nil
}

// AppendBase64 adds src in base64.
func AppendBase64(dst, src []byte) []byte { return appendBase64(dst, src) }
