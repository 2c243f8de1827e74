package signing

import (
	"context"
	"crypto"
	"errors"
	"strings"

	"github.com/sigstore/sigstore/pkg/signature/kms"

	"github.com/headgate/headgate/trust"
)

// KMSKey is a key in a key management service, by sigstore's URIs. The transit
// engine of Vault and OpenBao is asked by headgate itself (hashivault://NAME). No
// cloud's client is built in: for them sigstore's plug-in protocol runs the program
// sigstore-kms-NAME that the user installed.
func KMSKey(ctx context.Context, uri string, getenv func(string) string) (*Key, error) {
	if name, ok := strings.CutPrefix(uri, vaultScheme); ok {
		k, err := openVault(ctx, name, getenv)
		if err != nil {
			return nil, err
		}
		return fromSigner(k)
	}
	sv, err := kms.Get(ctx, uri, crypto.SHA256)
	var missing *kms.ProviderNotFoundError
	if errors.As(err, &missing) {
		scheme, _, _ := strings.Cut(uri, "://")
		return nil, usage("%q: no client of this key management service is built in (hashivault:// is): put sigstore's plug-in for it, the program sigstore-kms-%s, into $PATH, or export the key", clip(uri), clip(scheme))
	}
	if err != nil {
		return nil, trust.Undecidable(trust.ReasonNetwork, "opening the key %q: %w", clip(uri), err)
	}
	signer, _, err := sv.CryptoSigner(ctx, func(error) {})
	if err != nil {
		return nil, trust.Undecidable(trust.ReasonNetwork, "opening the key %q: %w", clip(uri), err)
	}
	return fromSigner(signer)
}
