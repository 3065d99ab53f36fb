package exchange

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"

	"virga/image"
	"virga/registry"
	"virga/storage"
	"virga/trust"
)

// Trust is what images must fulfil before a layer of them is fetched or used.
type Trust struct {
	Demands []trust.Demand // for every image
	Policy  *trust.Policy  // for those of registries; nil: none
	Keyless trust.KeylessVerifier
}

// demands are what an image of a registry must fulfil.
func (x *Exchange) demands(ref image.Reference) ([]trust.Demand, error) {
	list, err := x.opts.Trust.Policy.Demands(ref)
	return append(slices.Clone(x.opts.Trust.Demands), list...), err
}

// Verify reports which signatures fulfil the demands for what ref names in
// its registry. Nothing is stored. Without any demand the result is empty.
func (x *Exchange) Verify(ctx context.Context, ref image.Reference, want registry.Want) ([]image.Verification, error) {
	_, seen, err := x.resolve(ctx, ref, want)
	return seen, err
}

func digestsOf(index, manifest digest.Digest) []digest.Digest {
	if index == "" {
		return []digest.Digest{manifest}
	}
	return []digest.Digest{index, manifest}
}

// admit looks for signatures that fulfil the demands: one for each. The error
// is a *trust.RefusedError if there is none.
func (x *Exchange) admit(ctx context.Context, ref image.Reference, digests []digest.Digest, demands []trust.Demand) ([]image.Verification, error) {
	list := signatureList{x: x, ref: ref, digests: digests}
	var out []image.Verification
	for _, want := range demands {
		v, err := list.fulfils(ctx, &want)
		if err != nil {
			return nil, err
		}
		x.log.Info(fmt.Sprintf("verified %s: signed by %s", ref, v.Signer()))
		out = append(out, *v)
	}
	return out, nil
}

// signatureList fetches the signatures of an image as far as they are asked
// for, each once.
type signatureList struct {
	x       *Exchange
	ref     image.Reference
	digests []digest.Digest

	listed bool
	found  []foundDocument
	got    []fetchedSignature // as many of found as were asked for
}

type fetchedSignature struct {
	sig *trust.Signature
	err error
}

func (l *signatureList) fulfils(ctx context.Context, want *trust.Demand) (*image.Verification, error) {
	refused := &trust.RefusedError{Image: l.ref.String(), Source: want.Source, Reject: want.Reject}
	if want.Reject != "" {
		return nil, refused
	}
	if err := l.list(ctx); err != nil {
		return nil, fmt.Errorf("verify %s: %w", l.ref, err)
	}
	for i := range l.found {
		sig, err := l.get(ctx, i)
		if err == nil {
			var v *image.Verification
			if v, err = want.Check(ctx, sig, l.ref, l.digests, l.x.opts.Trust.Keyless); err == nil {
				return v, nil
			}
		}
		if ctx.Err() != nil || !aboutSignature(err) {
			return nil, fmt.Errorf("verify %s: %w", l.ref, err)
		}
		refused.Causes = append(refused.Causes, err)
	}
	return nil, refused
}

// aboutSignature reports whether an error says that a signature is not good, and
// not that it could not be seen.
func aboutSignature(err error) bool {
	var unchecked *trust.UncheckedError
	return !errors.As(err, &unchecked) && !errors.Is(err, registry.ErrUnreachable) && !errors.Is(err, registry.ErrUnauthorized) && !errors.Is(err, registry.ErrRateLimited)
}

func (l *signatureList) list(ctx context.Context) error {
	if l.listed {
		return nil
	}
	for _, d := range l.digests {
		found, err := l.x.documents(ctx, l.ref, d, &signatureKind)
		if err != nil {
			return err
		}
		l.found = append(l.found, found...)
	}
	l.listed = true
	return nil
}

func (l *signatureList) get(ctx context.Context, i int) (*trust.Signature, error) {
	if i == len(l.got) {
		sig, err := l.x.fetchSignature(ctx, l.ref, l.found[i])
		l.got = append(l.got, fetchedSignature{sig, err})
	}
	return l.got[i].sig, l.got[i].err
}

// admitStored is admit for an image in storage, and records what was verified.
// What was verified before is not asked of the
// registry again: that works where there is no network.
func (x *Exchange) admitStored(ctx context.Context, img *storage.Image) error {
	ref, demands, err := x.storedDemands(img)
	if err != nil {
		return err
	}
	digests := digestsOf(img.IndexDigest, img.Digest)
	demands = slices.DeleteFunc(demands, func(want trust.Demand) bool {
		return slices.ContainsFunc(img.Verified, func(v image.Verification) bool { return want.Remembers(&v, ref, digests) })
	})
	switch {
	case len(demands) == 0:
		return nil
	case img.Digest == "" && demands[0].Reject == "":
		return &unsignableError{img.Ref, demands[0].Source}
	}
	seen, err := x.admit(ctx, ref, digests, demands)
	if err != nil {
		return err
	}
	return x.noteVerified(ctx, img, seen)
}

// noteVerified records what was verified of an image, unless its name means
// another one by now.
func (x *Exchange) noteVerified(ctx context.Context, img *storage.Image, seen []image.Verification) error {
	ref, err := img.Reference()
	if err != nil {
		return err
	}
	now, err := x.store.Image(ref)
	if err != nil || now.ID != img.ID || now.Digest != img.Digest {
		return nil
	}
	now.Verified = append(now.Verified, seen...)
	return x.store.PutImage(ctx, *now)
}

// storedDemands are what an image in storage must fulfil, and the reference by
// which its signatures are found.
func (x *Exchange) storedDemands(img *storage.Image) (image.Reference, []trust.Demand, error) {
	ref, err := image.ParseReference(cmp.Or(img.Source, img.Ref))
	if err != nil {
		return ref, nil, fmt.Errorf("image %s: %w", img.Ref, err)
	}
	if img.Source == "" { // a policy is for what comes from a registry
		return ref, slices.Clone(x.opts.Trust.Demands), nil
	}
	demands, err := x.demands(ref)
	return ref, demands, err
}

// unsignableError says that an image must be signed and cannot be: it is in no
// registry.
type unsignableError struct{ image, source string }

func (e *unsignableError) Error() string {
	return fmt.Sprintf("verify %s: it is only here, where nothing is signed, and %s demands a signature", e.image, e.source)
}

func (e *unsignableError) Hint() string {
	return "push it with --sign-key, or pull it from a registry where it is signed"
}
