package ingest

import (
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/trust/sigstore"
)

// SigstoreRules are the rules of a private Sigstore instance of the configuration;
// nil for the public-good one.
func SigstoreRules(in *policies.SigstoreInstance) *sigstore.Rules {
	if in == nil {
		return nil
	}
	return &sigstore.Rules{Instance: in.Name, Logs: in.Logs, Timestamps: in.Timestamps, CertificateLogs: in.CertificateLogs, Issuers: in.Issuers}
}
