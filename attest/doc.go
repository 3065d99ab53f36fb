// Package attest makes and reads in-toto statements about images: the
// documents of which an attestation is the signed form.
//
// A Statement says something, its predicate, about subjects that are known by
// their digests (in-toto attestation framework, spec/v0.1.0). The predicate
// that is written is a collection of attestations, as cilock keeps them: OCI,
// what an image file holds. Nothing is signed here.
//
//	st, err := attest.Collect("save", []attest.Attestation{{OCI: oci, Start: t0, End: t1}})
//	b, err := json.Marshal(st)
package attest
