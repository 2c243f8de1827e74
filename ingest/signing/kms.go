package signing

import (
	"context"
	"crypto"
	"errors"

	"github.com/sigstore/sigstore/pkg/signature/kms"

	"github.com/headgate/headgate/trust"
)

// KMSKey is a key in a key management service, by sigstore's URIs
// ("name://…"). No service's own client is built in: sigstore's plug-in protocol
// runs the program sigstore-kms-NAME that the user installed.
func KMSKey(ctx context.Context, uri string) (*Key, error) {
	sv, err := kms.Get(ctx, uri, crypto.SHA256)
	var missing *kms.ProviderNotFoundError
	if errors.As(err, &missing) {
		return nil, usage("%q: no client of this key management service is built in, and no program sigstore-kms-… for it was found", clip(uri))
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
