package signing

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"golang.org/x/crypto/blake2b"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
	"github.com/headgate/headgate/trust/sshsig"
)

// MaxFile bounds a file that is signed, in bytes.
const MaxFile = 64 << 30

// PredicateSign is the predicate type of a statement that says nothing beside
// "I sign this", as cosign writes it for images.
const PredicateSign = "https://sigstore.dev/cosign/sign/v1"

// Signer makes bundles: a key, or a keyless identity, and the services that
// witness the signature.
type Signer struct {
	// Key signs. Nil makes an ephemeral key for Keyless.
	Key *Key
	// Keyless gets a certificate for an ephemeral key. It excludes Key.
	Keyless *Keyless
	// Logs and Timestamps witness the signature, each of them.
	Logs       []sign.Transparency
	Timestamps []*sign.TimestampAuthority
}

// Subject is what a statement is about.
type Subject struct {
	Name    string
	Digests trust.Digests
}

// File signs a file: a plain signature over its hash, or a statement about it
// where the key can only sign what it sees whole (SSH keys).
func (s *Signer) File(ctx context.Context, path string) ([]byte, error) {
	if s.Key != nil && s.Key.ssh != nil {
		sub, err := FileSubject(path)
		if err != nil {
			return nil, err
		}
		return s.Attest(ctx, PredicateSign, json.RawMessage("{}"), sub)
	}
	kp, opts, err := s.prepare(ctx, true)
	if err != nil {
		return nil, err
	}
	_, alg, h, _, err := kp.details()
	if err != nil {
		return nil, err
	}
	digest, err := hashFile(path, h)
	if err != nil {
		return nil, err
	}
	return s.bundle(&digestContent{digest: digest, alg: alg}, digestKey{kp, digest}, opts)
}

// digestContent is a plain signature over a file whose hash is at hand: the file
// itself is never in memory.
type digestContent struct {
	digest []byte
	alg    protocommon.HashAlgorithm
}

// PreAuthEncoding is the digest; digestKey signs it as one.
func (d *digestContent) PreAuthEncoding() []byte { return d.digest }

// Bundle writes the signature.
func (d *digestContent) Bundle(b *protobundle.Bundle, signature, _ []byte, _ protocommon.HashAlgorithm) {
	b.Content = &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
		MessageDigest: &protocommon.HashOutput{Algorithm: d.alg, Digest: d.digest}, Signature: signature,
	}}
}

// digestKey signs the digest of the file as such, and other data (a proof of
// possession) as data.
type digestKey struct {
	keypair
	digest []byte
}

// SignData signs data, or the digest that it is.
func (k digestKey) SignData(ctx context.Context, data []byte) ([]byte, []byte, error) {
	if len(data) == len(k.digest) && string(data) == string(k.digest) {
		return k.sign(nil, k.digest)
	}
	return k.keypair.SignData(ctx, data)
}

func (s *Signer) prepare(ctx context.Context, plain bool) (keypair, *sign.BundleOptions, error) {
	opts := &sign.BundleOptions{Context: ctx, TransparencyLogs: s.Logs, TimestampAuthorities: s.Timestamps}
	key := s.Key
	switch {
	case (key == nil) == (s.Keyless == nil):
		return keypair{}, nil, usage("signing needs a key or a keyless identity, and not both")
	case key == nil:
		var err error
		if key, err = s.Keyless.key(); err != nil {
			return keypair{}, nil, err
		}
		opts.CertificateProvider = s.Keyless.fulcio()
		opts.CertificateProviderOptions = &sign.CertificateProviderOptions{IDToken: s.Keyless.Token}
	case key.public == nil:
		return keypair{}, nil, ErrNoBundle
	case len(key.chain) > 0:
		opts.CertificateProvider = ownCertificate{key.chain[0].Raw}
	}
	_, edwards := key.public.(ed25519.PublicKey)
	return keypair{Key: key, prehash: edwards && plain}, opts, nil
}

// ownCertificate is the certificate that came with the key.
type ownCertificate struct{ der []byte }

// GetCertificate returns it.
func (c ownCertificate) GetCertificate(context.Context, sign.Keypair, *sign.CertificateProviderOptions) ([]byte, error) {
	return c.der, nil
}

func (s *Signer) bundle(content sign.Content, kp sign.Keypair, opts *sign.BundleOptions) ([]byte, error) {
	b, err := sign.Bundle(content, kp, *opts)
	if err != nil {
		if errors.Is(err, trust.ErrConfiguration) {
			return nil, err
		}
		return nil, unavailable("signing", err)
	}
	out, err := protojson.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("writing the bundle: %w", err)
	}
	return append(out, '\n'), nil
}

// unavailable is an error of a service that was asked.
func unavailable(what string, err error) error {
	return trust.Undecidable(trust.ReasonNetwork, "%s: %w", what, err)
}

// Attest signs an in-toto statement about the subjects.
func (s *Signer) Attest(ctx context.Context, predicateType string, predicate any, subjects ...Subject) ([]byte, error) {
	st, err := Statement(predicateType, predicate, subjects...)
	if err != nil {
		return nil, err
	}
	return s.Statement(ctx, st)
}

// Statement signs a statement as it is, after reading it as verifiers will.
func (s *Signer) Statement(ctx context.Context, statement []byte) ([]byte, error) {
	if len(statement) > sigstore.MaxFolderBundle/2 {
		return nil, usage("the statement has %d bytes, more than %d", len(statement), sigstore.MaxFolderBundle/2)
	}
	kp, opts, err := s.prepare(ctx, false)
	if err != nil {
		return nil, err
	}
	return s.bundle(&sign.DSSEData{Data: statement, PayloadType: sigstore.PayloadType}, kp, opts)
}

// Statement writes an in-toto statement v1. Subjects keep their order.
func Statement(predicateType string, predicate any, subjects ...Subject) ([]byte, error) {
	type subject struct {
		Name   string            `json:"name"`
		Digest map[string]string `json:"digest"`
	}
	list := make([]subject, 0, len(subjects))
	for _, s := range subjects {
		j := subject{Name: s.Name, Digest: map[string]string{}}
		for _, d := range s.Digests {
			j.Digest[string(d.Algorithm)] = d.Value
		}
		if len(j.Digest) == 0 {
			return nil, usage("subject %q has no digest", clip(s.Name))
		}
		list = append(list, j)
	}
	if len(list) == 0 {
		return nil, usage("a statement needs a subject")
	}
	b, err := json.Marshal(struct {
		Type          string    `json:"_type"`
		Subject       []subject `json:"subject"`
		PredicateType string    `json:"predicateType"`
		Predicate     any       `json:"predicate"`
	}{"https://in-toto.io/Statement/v1", list, predicateType, predicate})
	if err != nil {
		return nil, fmt.Errorf("writing the statement: %w", err)
	}
	return b, nil
}

// FileSubject is a file as a subject, by its base name, SHA-256 and SHA-512.
func FileSubject(path string) (Subject, error) {
	h256, h512 := sha256.New(), sha512.New()
	if err := copyFile(path, io.MultiWriter(h256, h512)); err != nil {
		return Subject{}, err
	}
	return Subject{Name: filepath.Base(path), Digests: trust.Digests{
		trust.DigestOf(trust.SHA256, h256.Sum(nil)), trust.DigestOf(trust.SHA512, h512.Sum(nil))}}, nil
}

func hashFile(path string, h crypto.Hash) ([]byte, error) {
	sum := h.New()
	if err := copyFile(path, sum); err != nil {
		return nil, err
	}
	return sum.Sum(nil), nil
}

func copyFile(path string, w io.Writer) error {
	f, size, err := openRegular(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if size > MaxFile {
		return usage("%s has %d bytes, more than %d", path, size, int64(MaxFile))
	}
	n, err := io.Copy(w, io.LimitReader(f, size+1))
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	if n != size {
		return fmt.Errorf("%s changed while it was read", path)
	}
	return nil
}

// SSHSignature signs a file as "ssh-keygen -Y sign -n file" does.
func (k *Key) SSHSignature(path string) ([]byte, error) {
	if k.ssh == nil {
		return nil, usage("an SSH signature needs an SSH key")
	}
	f, _, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return sshsig.Sign(f, sshsig.NamespaceFile, k.ssh)
}

// MinisignSignature signs a file as minisign does, by its hash.
func (k *Key) MinisignSignature(path string) ([]byte, error) {
	if k.mini == nil {
		return nil, usage("a minisign signature needs a minisign key")
	}
	h, err := blake2b.New512(nil)
	if err != nil {
		return nil, fmt.Errorf("hashing %s: %w", path, err)
	}
	if err := copyFile(path, h); err != nil {
		return nil, err
	}
	sig, err := k.mini.Sign(nil, h.Sum(nil), crypto.BLAKE2b_512)
	if err != nil {
		return nil, fmt.Errorf("signing %s: %w", path, err)
	}
	return sig, nil
}
