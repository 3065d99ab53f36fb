package keyless

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"

	"virga/trust"
)

// The annotations of cosign 2.
const (
	certificateAnnotation = "dev.sigstore.cosign/certificate"
	logAnnotation         = "dev.sigstore.cosign/bundle"
	timestampAnnotation   = "dev.sigstore.cosign/rfc3161timestamp"
)

// legacyType is the bundle whose log entry is a promise, as cosign 2 keeps it.
const legacyType = "application/vnd.dev.sigstore.bundle+json;version=0.1"

// legacy makes a bundle of what cosign 2 keeps in annotations. Intermediate
// certificates are the trusted root's, not those that came along.
func legacy(s *trust.Signature) (*bundle.Bundle, error) {
	block, _ := pem.Decode([]byte(s.Annotations[certificateAnnotation]))
	if block == nil {
		return nil, errors.New("its certificate is not PEM")
	}
	material := &protobundle.VerificationMaterial{
		Content: &protobundle.VerificationMaterial_X509CertificateChain{X509CertificateChain: &protocommon.X509CertificateChain{
			Certificates: []*protocommon.X509Certificate{{RawBytes: block.Bytes}},
		}},
	}
	if err := addLogEntry(material, s.Annotations[logAnnotation]); err != nil {
		return nil, fmt.Errorf("log entry: %w", err)
	}
	if err := addTimestamp(material, s.Annotations[timestampAnnotation]); err != nil {
		return nil, fmt.Errorf("timestamp: %w", err)
	}
	b := &protobundle.Bundle{MediaType: legacyType, VerificationMaterial: material}
	if len(s.Sig) > 0 {
		sum := sha256.Sum256(s.Payload)
		b.Content = &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
			MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: sum[:]}, Signature: s.Sig,
		}}
		return bundle.NewBundle(b)
	}
	env, err := trust.ParseEnvelope(s.Payload)
	if err != nil {
		return nil, err
	}
	e := &protodsse.Envelope{Payload: env.Payload, PayloadType: env.PayloadType}
	for _, sig := range env.Signatures {
		e.Signatures = append(e.Signatures, &protodsse.Signature{Sig: sig.Sig, Keyid: sig.KeyID})
	}
	b.Content = &protobundle.Bundle_DsseEnvelope{DsseEnvelope: e}
	return bundle.NewBundle(b)
}

// addLogEntry reads cosign's record of an entry in Rekor: what Rekor signed.
func addLogEntry(m *protobundle.VerificationMaterial, text string) error {
	if text == "" {
		return nil
	}
	var entry struct {
		SignedEntryTimestamp []byte
		Payload              struct {
			Body           []byte `json:"body"`
			IntegratedTime int64  `json:"integratedTime"`
			LogIndex       int64  `json:"logIndex"`
			LogID          string `json:"logID"`
		}
	}
	if err := json.Unmarshal([]byte(text), &entry); err != nil {
		return err
	}
	var body struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := json.Unmarshal(entry.Payload.Body, &body); err != nil {
		return err
	}
	id, err := hex.DecodeString(entry.Payload.LogID)
	if err != nil {
		return err
	}
	m.TlogEntries = append(m.TlogEntries, &protorekor.TransparencyLogEntry{
		LogIndex: entry.Payload.LogIndex, LogId: &protocommon.LogId{KeyId: id},
		KindVersion: &protorekor.KindVersion{Kind: body.Kind, Version: body.APIVersion}, IntegratedTime: entry.Payload.IntegratedTime,
		InclusionPromise:  &protorekor.InclusionPromise{SignedEntryTimestamp: entry.SignedEntryTimestamp},
		CanonicalizedBody: entry.Payload.Body,
	})
	return nil
}

func addTimestamp(m *protobundle.VerificationMaterial, text string) error {
	if text == "" {
		return nil
	}
	var t struct{ SignedRFC3161Timestamp []byte }
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return err
	}
	m.TimestampVerificationData = &protobundle.TimestampVerificationData{
		Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: t.SignedRFC3161Timestamp}},
	}
	return nil
}
