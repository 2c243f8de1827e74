// Package pinned hands adapters the OpenPGP certificates that somebody pinned for
// a package, each read once.
//
// It refuses nothing by itself: a certificate that cannot be read is an error
// about that one alone, and the others are handed out.
package pinned

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/openpgp"
)

// Bounds.
const (
	MaxKeys = 4096 // certificates that are tried for one package
	// maxCached bounds the certificates that are kept after they were read.
	maxCached = 16384
)

// Keys reads pinned certificates. It is safe for concurrent use.
type Keys struct {
	from adapter.Materials

	mu   sync.Mutex
	read map[[sha256.Size]byte]read
}

type read struct {
	certs []*openpgp.Certificate
	bad   []error
}

// New returns the certificates of from; nil for none.
func New(from adapter.Materials) *Keys { return &Keys{from: from, read: map[[sha256.Size]byte]read{}} }

// For returns the ring of the certificates that are pinned for the package. What
// cannot be read is in bad, one error each.
func (k *Keys) For(ctx context.Context, p trust.Package) (ring *openpgp.Keyring, bad []error, err error) {
	ring = openpgp.NewKeyring()
	if k == nil || k.from == nil {
		return ring, nil, nil
	}
	ms, err := k.from.Materials(ctx, trust.MaterialOpenPGP, p)
	if err != nil {
		return ring, nil, fmt.Errorf("reading the pinned keys of %s: %w", p, err)
	}
	var certs []*openpgp.Certificate
	for _, m := range ms {
		r := k.certificates(m.Data)
		for _, b := range r.bad {
			bad = append(bad, fmt.Errorf("pinned key %q: %w", m.Name, b))
		}
		certs = append(certs, r.certs...)
	}
	if len(certs) > MaxKeys {
		return ring, bad, trust.Undecidable(trust.ReasonTooLarge, "more than %d keys are pinned for %s", MaxKeys, p)
	}
	return openpgp.NewKeyring(certs...), bad, nil
}

func (k *Keys) certificates(data []byte) read {
	sum := sha256.Sum256(data)
	k.mu.Lock()
	defer k.mu.Unlock()
	if r, ok := k.read[sum]; ok {
		return r
	}
	cs, bad, err := openpgp.ParseCertificates(data)
	if err != nil {
		bad = append(bad, err)
	}
	if len(k.read) >= maxCached {
		clear(k.read)
	}
	r := read{cs, bad}
	k.read[sum] = r
	return r
}

// Remedy says how to pin the OpenPGP key that a signature names. issuers are
// fingerprints or key ids, as openpgp.Issuers returns them.
func Remedy(p trust.Package, issuers []string) string {
	more := ""
	if len(issuers) == 1 && issuers[0] != "unknown" {
		more = "--signer " + issuers[0]
	}
	return Command(p, "FILE", more) + ", with FILE from the project's own site (its KEYS file), not from a key server"
}

// Command is the command that pins a file of keys for the package. The package's
// URL may come from a scanned file: what ends a shell's quotes is escaped.
func Command(p trust.Package, file, more string) string {
	if more != "" {
		more = " " + more
	}
	return "headgate signers accept '" + strings.ReplaceAll(p.PURL(), "'", "%27") + "' --key " + file + more + " --reason '…'"
}
