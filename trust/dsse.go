package trust

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// InTotoType is the payload type of in-toto statements in envelopes.
const InTotoType = "application/vnd.in-toto+json"

// Envelope is a signed document (DSSE 1.0.2, "envelope.md").
type Envelope struct {
	Payload     []byte              `json:"payload"` // base64 in JSON
	PayloadType string              `json:"payloadType"`
	Signatures  []EnvelopeSignature `json:"signatures"`
}

// EnvelopeSignature is one of an envelope's signatures. KeyID is a hint, and
// signed by nobody.
type EnvelopeSignature struct {
	Sig   []byte `json:"sig"` // base64 in JSON
	KeyID string `json:"keyid,omitempty"`
}

// PAE is what is signed of an envelope (DSSE 1.0.2, "protocol.md").
func PAE(payloadType string, payload []byte) []byte {
	b := []byte("DSSEv1 " + strconv.Itoa(len(payloadType)) + " " + payloadType + " " + strconv.Itoa(len(payload)) + " ")
	return append(b, payload...)
}

// Envelope signs payload. The signature names no key, as cosign's do not.
func (s *Signer) Envelope(payloadType string, payload []byte) (*Envelope, error) {
	sig, err := s.Sign(PAE(payloadType, payload))
	if err != nil {
		return nil, err
	}
	return &Envelope{Payload: payload, PayloadType: payloadType, Signatures: []EnvelopeSignature{{Sig: sig}}}, nil
}

// ParseEnvelope reads an envelope from JSON. One without signature is an
// error.
func ParseEnvelope(text []byte) (*Envelope, error) {
	var e Envelope
	if err := json.Unmarshal(text, &e); err != nil {
		return nil, fmt.Errorf("envelope: %w", err)
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	return &e, nil
}

func (e *Envelope) check() error {
	switch {
	case e.PayloadType == "":
		return errors.New("envelope: it has no payloadType")
	case len(e.Signatures) == 0:
		return errors.New("envelope: it has no signature")
	}
	return nil
}

// Verify returns the payload if one of the envelope's signatures is that of
// key, else ErrSignature.
func (e *Envelope) Verify(key *PublicKey) ([]byte, error) {
	signed := PAE(e.PayloadType, e.Payload)
	for _, s := range e.Signatures {
		if key.Verify(signed, s.Sig) == nil {
			return e.Payload, nil
		}
	}
	return nil, ErrSignature
}
