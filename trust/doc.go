// Package trust signs and verifies: keys, and the documents that signatures of
// images stand in.
// It does no I/O; where signatures lie in a registry is the caller's matter.
//
// Formats are those of cosign 2 and 3, so that each verifies what the other
// signed. Only the standard library's cryptography is used, and
// go-securesystemslib for the encryption of private keys.
//
//	signer, err := trust.ParsePrivateKey(pem, askPassword)
//	env, err := signer.Envelope("application/vnd.in-toto+json", statement)
//	payload, err := env.Verify(signer.Public())
package trust
