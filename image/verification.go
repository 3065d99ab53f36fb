package image

import (
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
)

// Verification says which signature of an image was verified.
type Verification struct {
	Digest   digest.Digest `json:"digest"`             // the manifest or index that is signed
	Key      string        `json:"key,omitempty"`      // fingerprint of the key that signed, or
	Identity string        `json:"identity,omitempty"` // who the certificate is for,
	Issuer   string        `json:"issuer,omitempty"`   // who vouched for that,
	Root     string        `json:"root,omitempty"`     // and the digest of the trusted root; "": Sigstore's own
	Name     string        `json:"name,omitempty"`     // repository[:tag] that the signature names
	Source   string        `json:"source"`             // who demanded it: an option, or a policy file and its scope
	Time     time.Time     `json:"time"`
}

// Signer is who signed, for people.
func (v *Verification) Signer() string {
	if v.Key != "" {
		return "key " + v.Key
	}
	return fmt.Sprintf("%s (%s)", v.Identity, v.Issuer)
}
