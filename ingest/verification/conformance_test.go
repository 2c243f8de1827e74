package verification_test

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/ingest/verification"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
	"github.com/headgate/headgate/trust/sigstore/sigstoretest"
)

// TestThreat010ConformanceCases are the cases of sigstore's conformance suite, by
// their names there, made at test time: a case whose name ends in _fail must be
// refused, every other one must verify. One case is left out, which the library
// cannot read: intoto-canonical-log-entry, a log v1 entry under a checkpoint
// without tree id, which no log v1 writes.
func TestThreat010ConformanceCases(t *testing.T) {
	w, other := sigstoretest.New(t, now), sigstoretest.New(t, now)
	app := []byte("the artifact")
	const kind = "https://example.com/test"
	statement := sigstoretest.Statement(kind, map[string]any{}, sigstoretest.SubjectOf("a.txt", app))
	edited := func(edit func(map[string]any)) []byte {
		var m map[string]any
		must(t, json.Unmarshal(statement, &m))
		edit(m)
		b, err := json.Marshal(m)
		must(t, err)
		return b
	}
	plain := sigstoretest.Options{Artifact: app}
	dsse := sigstoretest.Options{Statement: statement}
	v2 := sigstoretest.Options{Artifact: app, LogV2: true}
	v2dsse := sigstoretest.Options{Statement: statement, LogV2: true}
	with := func(o sigstoretest.Options, f sigstoretest.Fault) sigstoretest.Options { o.Fault = f; return o }
	keyed := func(o sigstoretest.Options) sigstoretest.Options { o.Key = w.NPM; return o }
	first := func(doc map[string]any, list string) map[string]any { return doc[list].([]any)[0].(map[string]any) }
	ends := func(list string, n int, at time.Time) func(map[string]any) {
		return func(doc map[string]any) {
			e := doc[list].([]any)[n].(map[string]any)
			if pk, ok := e["publicKey"].(map[string]any); ok {
				e = pk
			}
			e["validFor"].(map[string]any)["end"] = at.Format(time.RFC3339)
		}
	}
	for _, c := range []struct {
		name string
		opts sigstoretest.Options
		root func(doc map[string]any)
		by   func(*verification.Expectation)
		from *sigstoretest.World
	}{
		{name: "happy-path", opts: plain},
		{name: "happy-path-v0.1", opts: sigstoretest.Options{Artifact: app, Version: "0.1"}},
		{name: "happy-path-v0.2", opts: sigstoretest.Options{Artifact: app, Version: "0.2"}},
		{name: "happy-path-intoto-in-dsse", opts: dsse},
		{name: "rekor2-happy-path", opts: v2},
		{name: "rekor2-dsse-happy-path", opts: v2dsse},
		{name: "bundle-from-wrong-instance_fail", opts: plain, from: other},
		{name: "message-digest-mismatch_fail", opts: sigstoretest.Options{Artifact: []byte("another")}},
		{name: "wrong-subject_fail", opts: sigstoretest.Options{Statement: sigstoretest.Statement(kind, map[string]any{}, sigstoretest.SubjectOf("a.txt", []byte("another")))}},
		{name: "invalid-signature_fail", opts: with(plain, sigstoretest.FaultSignature)},
		{name: "dsse-invalid-sig_fail", opts: with(dsse, sigstoretest.FaultSignature)},
		{name: "dsse-mismatch-envelope_fail", opts: with(dsse, sigstoretest.FaultEntryDigest)},
		{name: "dsse-mismatch-sig_fail", opts: with(dsse, sigstoretest.FaultEntrySignature)},
		{name: "dsse-statement-missing-type_fail", opts: sigstoretest.Options{Statement: edited(func(m map[string]any) { delete(m, "_type") })}},
		{name: "dsse-statement-unknown-type_fail", opts: sigstoretest.Options{Statement: edited(func(m map[string]any) { m["_type"] = "https://in-toto.io/Statement/v9" })}},
		{name: "rekor2-dsse-invalid-sig_fail", opts: with(v2dsse, sigstoretest.FaultSignature)},
		{name: "rekor2-dsse-mismatch-envelope_fail", opts: with(v2dsse, sigstoretest.FaultEntryDigest)},
		{name: "rekor2-dsse-mismatch-sig_fail", opts: with(v2dsse, sigstoretest.FaultEntrySignature)},
		{name: "cve-2022-36056-swapped-tlog-entry_fail", opts: with(plain, sigstoretest.FaultEntrySignature)},
		{name: "wrong-material_fail", opts: with(plain, sigstoretest.FaultEntryKey)},
		{name: "invalid-set_fail", opts: with(plain, sigstoretest.FaultSET)},
		{name: "invalid-inclusion-proof_fail", opts: with(plain, sigstoretest.FaultProof)},
		{name: "no-log-entry_fail", opts: with(plain, sigstoretest.FaultNoEntry)},
		{name: "cert-expired_fail", opts: with(plain, sigstoretest.FaultExpired)},
		{name: "invalid-ct-key_fail", opts: with(plain, sigstoretest.FaultForeignSCT)},
		{name: "no-sct_fail", opts: with(plain, sigstoretest.FaultNoSCT)},
		{name: "checkpoint-invalid-signature_fail", opts: with(plain, sigstoretest.FaultCheckpoint)},
		{name: "checkpoint-missing-origin_fail", opts: with(plain, sigstoretest.FaultCheckpointOrigin)},
		{name: "checkpoint-missing-size_fail", opts: with(plain, sigstoretest.FaultCheckpointNoSize)},
		{name: "checkpoint-other-size_fail", opts: with(plain, sigstoretest.FaultCheckpointSize)},
		{name: "checkpoint-missing-root-hash_fail", opts: with(plain, sigstoretest.FaultCheckpointNoRoot)},
		{name: "checkpoint-wrong-root-hash_fail", opts: with(plain, sigstoretest.FaultCheckpointRoot)},
		{name: "checkpoint-missing-log-signature_fail", opts: with(plain, sigstoretest.FaultCheckpointUnsigned)},
		{name: "checkpoint-bad-keyhint_fail", opts: with(plain, sigstoretest.FaultCheckpointHint)},
		{name: "rekor2-checkpoint-missing-origin_fail", opts: with(v2, sigstoretest.FaultCheckpointOrigin)},
		{name: "rekor2-checkpoint-wrong-root-hash_fail", opts: with(v2, sigstoretest.FaultCheckpointRoot)},
		{name: "rekor2-checkpoint-missing-log-signature_fail", opts: with(v2, sigstoretest.FaultCheckpointForeign)},
		{name: "rekor2-checkpoint-bad-keyhint_fail", opts: with(v2, sigstoretest.FaultCheckpointHint)},
		{name: "rekor2-no-timestamp_fail", opts: with(v2, sigstoretest.FaultNoTimestamp)},
		{name: "rekor2-timestamp-payload-mismatch_fail", opts: with(v2, sigstoretest.FaultTimestamp)},
		{name: "rekor2-timestamp-untrusted-tsa-with-embedded-cert_fail", opts: with(v2, sigstoretest.FaultForeignTSA)},
		{name: "rekor2-timestamp-with-incorrect-time_fail", opts: with(v2, sigstoretest.FaultExpired)},
		{name: "rekor2-multiple-timestamps-one-outside-cert-validity_fail", opts: with(v2, sigstoretest.FaultLateTimestamp)},
		{name: "rekor2-timestamp-outside-trust-root-tsa-validity_fail", opts: v2, root: ends("timestampAuthorities", 0, now.Add(-time.Second))},
		{name: "rekor2-timestamp-wrong-tsa-validity-borrow_fail", opts: v2, root: func(doc map[string]any) {
			ends("timestampAuthorities", 0, now.Add(-time.Second))(doc)
			doc["timestampAuthorities"] = append(doc["timestampAuthorities"].([]any), map[string]any{"uri": "https://tsa.example.com", "certChain": map[string]any{},
				"validFor": map[string]any{"start": now.Add(-time.Hour).Format(time.RFC3339)}})
		}},
		{name: "trust-root-tlog-validity-end-inclusive", opts: plain, root: ends("tlogs", 0, now)},
		{name: "trust-root-tlog-outside-validity_fail", opts: plain, root: ends("tlogs", 0, now.Add(-time.Second))},
		{name: "trust-root-tsa-validity-end-inclusive", opts: v2, root: ends("timestampAuthorities", 0, now)},
		{name: "trust-root-ca-outside-validity_fail", opts: plain, root: ends("certificateAuthorities", 0, now.Add(-time.Second))},
		{name: "trust-root-tlog-missing-validity-start_fail", opts: plain, root: func(doc map[string]any) {
			delete(first(doc, "tlogs")["publicKey"].(map[string]any)["validFor"].(map[string]any), "start")
		}},
		{name: "sct-duplicate-intermediate-name", opts: plain, root: func(doc map[string]any) {
			var decoy map[string]any
			must(t, json.Unmarshal(other.TrustedRoot(), &decoy))
			doc["certificateAuthorities"] = append(decoy["certificateAuthorities"].([]any), doc["certificateAuthorities"].([]any)...)
		}},
		{name: "managed-key-happy-path", opts: keyed(plain), by: byNPM(t, w)},
		{name: "managed-key-dsse-happy-path", opts: keyed(dsse), by: byNPM(t, w)},
		{name: "managed-key-no-signed-time", opts: with(keyed(plain), sigstoretest.FaultNoTimestamp), by: byNPM(t, w)},
		{name: "rekor2-managed-key-no-signed-time", opts: with(keyed(v2dsse), sigstoretest.FaultNoTimestamp), by: byNPM(t, w)},
		{name: "managed-key-and-trusted-root", opts: with(keyed(plain), sigstoretest.FaultNoEntry), by: byNPM(t, w)},
		{name: "managed-key-wrong-key_fail", opts: keyed(plain), by: byNPM(t, other)},
		{name: "managed-key-wrong-key-no-entry_fail", opts: with(keyed(plain), sigstoretest.FaultNoEntry), by: byNPM(t, other)},
		{name: "managed-key-invalid-signature_fail", opts: with(keyed(plain), sigstoretest.FaultSignature), by: byNPM(t, w)},
		{name: "managed-key-foreign-log_fail", opts: with(keyed(plain), sigstoretest.FaultForeignLog), by: byNPM(t, w)},
		{name: "managed-key-other-entry_fail", opts: with(keyed(dsse), sigstoretest.FaultEntryDigest), by: byNPM(t, w)},
		{name: "managed-key-certificate-bundle_fail", opts: plain, by: byNPM(t, w)},
		{name: "managed-key-expected-identity_fail", opts: keyed(plain)},
		{name: "managed-key-and-client-identity_fail", opts: keyed(plain), by: func(x *verification.Expectation) {
			id := *x
			byNPM(t, w)(x)
			x.Identity, x.Issuer = id.Identity, id.Issuer
		}},
		{name: "wrong-identity_fail", opts: plain, by: func(x *verification.Expectation) { x.Identity += "x" }},
		{name: "wrong-issuer_fail", opts: plain, by: func(x *verification.Expectation) { x.Issuer += "/" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.from == nil {
				c.from = w
			}
			document := w.TrustedRoot()
			if c.root != nil {
				document = w.TrustedRootWith(c.root)
			}
			x := verification.Expectation{
				Identity: sigstoretest.Workflow{}.SAN(), Issuer: trust.GitHubIssuer, Now: now, AnyTypeUnsafe: true,
				Root: func() (*sigstore.Root, error) {
					return sigstore.LoadTrustedRoot(document, sigstore.RootOptions{Obtained: now, Now: now})
				},
			}
			if c.by != nil {
				c.by(&x)
			}
			rs, err := verification.Verify(verification.BytesArtifact("a.txt", app), doc(c.from.Bundle(c.opts)), x)
			if fails := strings.HasSuffix(c.name, "_fail"); fails != (err != nil) || fails != (len(rs) == 0) {
				t.Errorf("%d results, %v", len(rs), err)
			}
		})
	}
}

// byNPM expects the World's long-lived key and nobody else.
func byNPM(t *testing.T, w *sigstoretest.World) func(*verification.Expectation) {
	der, err := x509.MarshalPKIXPublicKey(w.NPM.Private.Public())
	must(t, err)
	k, err := verification.ParseKeys(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	must(t, err)
	return func(x *verification.Expectation) { x.Keys, x.Identity, x.Issuer = k, "", "" }
}
