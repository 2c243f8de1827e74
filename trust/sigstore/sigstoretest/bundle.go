package sigstoretest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cyberphone/json-canonicalization/go/src/webpki.org/jsoncanonicalizer"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	rekortiles "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	"github.com/sigstore/rekor-tiles/v2/pkg/note"
	"github.com/sigstore/rekor/pkg/util"
	formats "github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/merkle/rfc6962"
	sumnote "golang.org/x/mod/sumdb/note"
	"google.golang.org/protobuf/encoding/protojson"
)

// Fault breaks one part of a bundle and leaves the others sound.
type Fault string

// Faults. Each leaves everything else as a sound bundle has it.
const (
	FaultSignature      Fault = "signature"       // random signature, logged and timestamped as such
	FaultNoPAE          Fault = "no-pae"          // signature over the payload itself
	FaultPayload        Fault = "payload"         // payload changed after signing and logging
	FaultNoSCT          Fault = "no-sct"          // certificate without SCT
	FaultForeignSCT     Fault = "foreign-sct"     // SCT of an unknown log
	FaultBadSCT         Fault = "bad-sct"         // SCT over another certificate
	FaultForeignCA      Fault = "foreign-ca"      // authority of the same names with another key
	FaultExpired        Fault = "expired"         // signed after the certificate's end
	FaultNotYet         Fault = "not-yet"         // signed before the certificate's start
	FaultNoEntry        Fault = "no-entry"        // no log entry
	FaultForeignLog     Fault = "foreign-log"     // entry of an unknown log
	FaultEntrySignature Fault = "entry-signature" // entry of another signature
	FaultEntryKey       Fault = "entry-key"       // entry of another certificate or key
	FaultEntryDigest    Fault = "entry-digest"    // entry of another payload or artifact
	FaultSET            Fault = "set"             // promise signed by another key
	FaultProof          Fault = "proof"           // inclusion proof of another entry
	FaultCheckpoint     Fault = "checkpoint"      // checkpoint signed by another key
	FaultNoProof        Fault = "no-proof"        // neither proof nor promise
	FaultNoTimestamp    Fault = "no-timestamp"    // neither promise nor timestamp
	FaultForeignTSA     Fault = "foreign-tsa"     // timestamp with its own embedded chain; no promise
	FaultTimestamp      Fault = "timestamp"       // timestamp over another signature; no promise
	FaultTwice          Fault = "twice"           // the same log entry twice

	// Checkpoints that the log's own key signed, and that are not those of its tree,
	// or checkpoints that lack a part.
	FaultCheckpointOrigin   Fault = "checkpoint-no-origin"
	FaultCheckpointNoSize   Fault = "checkpoint-no-size"
	FaultCheckpointSize     Fault = "checkpoint-other-size"
	FaultCheckpointNoRoot   Fault = "checkpoint-no-root"
	FaultCheckpointRoot     Fault = "checkpoint-other-root"
	FaultCheckpointUnsigned Fault = "checkpoint-unsigned"
	FaultCheckpointHint     Fault = "checkpoint-key-hint"    // signature under another key hint
	FaultCheckpointForeign  Fault = "checkpoint-foreign-log" // signed by a witness alone, not by the log

	FaultLateTimestamp   Fault = "late-timestamp"   // a second timestamp, from after the certificate's end
	FaultTimestampWindow Fault = "timestamp-window" // stamped before the authority was valid; no promise
	FaultTwoSignatures   Fault = "two-signatures"   // envelope with two signatures
)

// Options say what to sign and how. The zero value, with a Statement or an
// Artifact, is a sound bundle v0.3 of a GitHub workflow in log v1.
type Options struct {
	Statement   []byte // DSSE payload; see Statement
	PayloadType string // default in-toto
	Artifact    []byte // message signature over these bytes, if there is no Statement

	Identity Identity // default Workflow{}.Identity()
	Key      *Key     // sign with a long-lived key; no certificate

	LogV2     bool      // Rekor v2 entry and RFC 3161 timestamp instead of v1 entry with promise
	Timestamp bool      // an RFC 3161 timestamp besides
	Private   bool      // GitHub's private instance: timestamp only, no log entry, no SCT
	Version   string    // bundle version: "0.1" (promise only), "0.2", "0.3" (default)
	At        time.Time // time of signing, default World.Now
	Fault     Fault
}

// Subject is a subject of a Statement.
type Subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

// SubjectOf is a subject with the SHA-256 and SHA-512 of the bytes.
func SubjectOf(name string, artifact []byte) Subject {
	s256, s512 := sha256.Sum256(artifact), sha512.Sum512(artifact)
	return Subject{Name: name, Digest: map[string]string{"sha256": hex.EncodeToString(s256[:]), "sha512": hex.EncodeToString(s512[:])}}
}

// Statement writes an in-toto statement v1.
func Statement(predicateType string, predicate any, subjects ...Subject) []byte {
	b, err := json.Marshal(obj{"_type": "https://in-toto.io/Statement/v1", "subject": subjects, "predicateType": predicateType, "predicate": predicate})
	if err != nil {
		panic(err) // a test passed a predicate that is no JSON
	}
	return b
}

// Provenance1 is a SLSA v1 predicate that agrees with the workflow's certificate.
func (f Workflow) Provenance1() map[string]any {
	f = f.Defaults()
	repo := "https://github.com/" + f.Repository
	return obj{
		"buildDefinition": obj{
			"buildType":            "https://slsa-framework.github.io/github-actions-buildtypes/workflow/v1",
			"externalParameters":   obj{"workflow": obj{"ref": f.Ref, "repository": repo, "path": f.Path}},
			"internalParameters":   obj{"github": obj{"event_name": f.Trigger, "repository_id": f.RepoID, "repository_owner_id": f.OwnerID}},
			"resolvedDependencies": []any{obj{"uri": "git+" + repo + "@" + f.Ref, "digest": obj{"gitCommit": f.Commit}}},
		},
		"runDetails": obj{
			"builder":  obj{"id": "https://github.com/actions/runner/" + f.Runner},
			"metadata": obj{"invocationId": repo + "/actions/runs/42/attempts/1"},
		},
	}
}

// Provenance02 is a SLSA v0.2 predicate as npm wrote it, agreeing with the certificate.
func (f Workflow) Provenance02() map[string]any {
	f = f.Defaults()
	repo := "git+https://github.com/" + f.Repository
	return obj{
		"buildType": "https://github.com/npm/cli/gha/v2",
		"builder":   obj{"id": "https://github.com/actions/runner"},
		"invocation": obj{
			"configSource": obj{"uri": repo + "@" + f.Ref, "digest": obj{"sha1": f.Commit}, "entryPoint": f.Path},
			"parameters":   obj{},
			"environment": obj{"GITHUB_EVENT_NAME": f.Trigger, "GITHUB_REF": f.Ref, "GITHUB_REPOSITORY": f.Repository,
				"GITHUB_REPOSITORY_ID": f.RepoID, "GITHUB_REPOSITORY_OWNER_ID": f.OwnerID, "GITHUB_SHA": f.Commit},
		},
		"metadata":  obj{"buildInvocationId": "42-1", "completeness": obj{"parameters": false, "environment": false, "materials": false}, "reproducible": false},
		"materials": []any{obj{"uri": repo + "@" + f.Ref, "digest": obj{"sha1": f.Commit}}},
	}
}

func pae(payloadType string, payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
}

func sign(key *ecdsa.PrivateKey, message []byte) ([]byte, error) {
	sum := sha256.Sum256(message)
	return ecdsa.SignASN1(rand.Reader, key, sum[:])
}

// Bundle signs and returns the bundle's JSON.
func (w *World) Bundle(o Options) []byte {
	w.tb.Helper()
	if o.PayloadType == "" {
		o.PayloadType = "application/vnd.in-toto+json"
	}
	if o.Version == "" {
		o.Version = "0.3"
	}
	if o.At.IsZero() {
		o.At = w.Now
	}
	if o.Identity.URI == "" && o.Identity.Email == "" && o.Identity.Extensions == nil {
		o.Identity = Workflow{}.Identity()
	}

	leafKey := w.p256()
	leafOpts := LeafOptions{
		NotBefore: o.At.Add(-time.Minute), NoSCT: o.Private || o.Fault == FaultNoSCT, ForeignSCT: o.Fault == FaultForeignSCT,
		BadSCT: o.Fault == FaultBadSCT, ForeignCA: o.Fault == FaultForeignCA,
	}
	switch o.Fault {
	case FaultExpired:
		leafOpts.NotBefore = o.At.Add(-time.Hour)
	case FaultNotYet:
		leafOpts.NotBefore = o.At.Add(time.Hour)
	}
	material := obj{}
	var verifierPEM []byte
	var verifierV2 *rekortiles.Verifier
	certOrKey := func(key *ecdsa.PrivateKey) {
		if o.Key != nil {
			der := w.spki(key.Public())
			verifierPEM = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
			verifierV2 = &rekortiles.Verifier{Verifier: &rekortiles.Verifier_PublicKey{PublicKey: &rekortiles.PublicKey{RawBytes: der}}, KeyDetails: protocommon.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256}
			return
		}
		c := w.Leaf(key.Public(), o.Identity, leafOpts)
		if o.Version == "0.3" {
			material["certificate"] = obj{"rawBytes": c.Raw}
		} else {
			material["x509CertificateChain"] = chain(c)
		}
		verifierPEM = certPEM(c)
		verifierV2 = &rekortiles.Verifier{Verifier: &rekortiles.Verifier_X509Certificate{X509Certificate: &protocommon.X509Certificate{RawBytes: c.Raw}}, KeyDetails: protocommon.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256}
	}
	if o.Key != nil {
		leafKey = o.Key.Private
		material["publicKey"] = obj{"hint": o.Key.ID}
	}
	certOrKey(leafKey)

	message := o.Artifact
	if o.Statement != nil {
		message = pae(o.PayloadType, o.Statement)
		if o.Fault == FaultNoPAE {
			message = o.Statement
		}
	}
	sig, err := sign(leafKey, message)
	w.must(err)
	if o.Fault == FaultSignature {
		sig, err = sign(w.p256(), message)
		w.must(err)
	}

	mediaType := "application/vnd.dev.sigstore.bundle.v0.3+json"
	if o.Version != "0.3" {
		mediaType = "application/vnd.dev.sigstore.bundle+json;version=" + o.Version
	}
	doc := obj{"mediaType": mediaType, "verificationMaterial": material}
	payload := o.Statement
	if o.Statement != nil {
		if o.Fault == FaultPayload {
			payload = append([]byte(" "), payload...)
		}
		sigs := []any{obj{"sig": sig}}
		if o.Fault == FaultTwoSignatures {
			sigs = append(sigs, obj{"sig": sig})
		}
		doc["dsseEnvelope"] = obj{"payload": payload, "payloadType": o.PayloadType, "signatures": sigs}
	} else {
		sum := sha256.Sum256(o.Artifact)
		doc["messageSignature"] = obj{"messageDigest": obj{"algorithm": "SHA2_256", "digest": sum[:]}, "signature": sig}
	}

	if !o.Private && o.Fault != FaultNoEntry {
		e := entryContent{dsse: o.Statement != nil, payloadType: o.PayloadType, payload: o.Statement, artifact: o.Artifact, sig: sig, at: o.At}
		saved := material["certificate"]
		savedChain := material["x509CertificateChain"]
		switch o.Fault {
		case FaultEntrySignature:
			e.sig, err = sign(leafKey, message)
			w.must(err)
		case FaultEntryKey:
			certOrKey(w.p256())
		case FaultEntryDigest:
			e.payload, e.artifact = append([]byte(" "), e.payload...), append([]byte("x"), e.artifact...)
		}
		if saved != nil {
			material["certificate"] = saved
		}
		if savedChain != nil {
			material["x509CertificateChain"] = savedChain
		}
		e.verifierPEM, e.verifierV2 = verifierPEM, verifierV2
		var entry obj
		if o.LogV2 {
			entry = w.entryV2(e, o.Fault)
		} else {
			entry = w.entryV1(e, o)
		}
		entries := []any{entry}
		if o.Fault == FaultTwice {
			entries = append(entries, entry)
		}
		material["tlogEntries"] = entries
	}
	if (o.LogV2 || o.Timestamp || o.Private || o.Fault == FaultForeignTSA || o.Fault == FaultTimestamp || o.Fault == FaultTimestampWindow) && o.Fault != FaultNoTimestamp {
		leaf, key, over, at := w.tsaLeaf, w.tsaKey, sig, o.At
		switch o.Fault {
		case FaultForeignTSA:
			rootKey := w.p256()
			root := w.authority("sigstore-tsa-root", nil, rootKey, nil, x509.ExtKeyUsageTimeStamping)
			key = w.p256()
			leaf = w.tsaCertificate(key, root, rootKey)
		case FaultTimestampWindow:
			at = w.start.Add(-time.Hour)
		case FaultTimestamp:
			over = append([]byte("x"), sig...)
		}
		stamps := []any{obj{"signedTimestamp": w.stamp(over, at, leaf, key)}}
		if o.Fault == FaultLateTimestamp {
			stamps = append(stamps, obj{"signedTimestamp": w.stamp(over, at.Add(24*time.Hour), leaf, key)})
		}
		material["timestampVerificationData"] = obj{"rfc3161Timestamps": stamps}
	}
	return w.json(doc)
}

type entryContent struct {
	dsse        bool
	payloadType string
	payload     []byte
	artifact    []byte
	sig         []byte
	verifierPEM []byte
	verifierV2  *rekortiles.Verifier
	at          time.Time
}

func (w *World) canonical(v any) []byte {
	b, err := json.Marshal(v)
	w.must(err)
	c, err := jsoncanonicalizer.Transform(b)
	w.must(err)
	return c
}

func hexSum(b []byte) obj {
	sum := sha256.Sum256(b)
	return obj{"algorithm": "sha256", "value": hex.EncodeToString(sum[:])}
}

// tree puts the entry beside another one and returns index, size, proof and root.
func tree(body []byte) (index int64, size uint64, proof [][]byte, root []byte) {
	sibling := rfc6962.DefaultHasher.HashLeaf([]byte(randomID()))
	leaf := rfc6962.DefaultHasher.HashLeaf(body)
	return 1, 2, [][]byte{sibling}, rfc6962.DefaultHasher.HashChildren(sibling, leaf)
}

func (w *World) entryV1(e entryContent, o Options) obj {
	kind := "hashedrekord"
	body := obj{"apiVersion": "0.0.1", "kind": kind, "spec": obj{
		"data":      obj{"hash": hexSum(e.artifact)},
		"signature": obj{"content": e.sig, "publicKey": obj{"content": e.verifierPEM}},
	}}
	if e.dsse {
		kind = "dsse"
		envelope := w.canonical(obj{"payload": e.payload, "payloadType": e.payloadType, "signatures": []any{obj{"sig": e.sig}}})
		body = obj{"apiVersion": "0.0.1", "kind": kind, "spec": obj{
			"envelopeHash": hexSum(envelope), "payloadHash": hexSum(e.payload),
			"signatures": []any{obj{"signature": base64.StdEncoding.EncodeToString(e.sig), "verifier": e.verifierPEM}},
		}}
	}
	return w.sealV1(kind, w.canonical(body), e.at, o)
}

// sealV1 puts an entry into log v1.
func (w *World) sealV1(kind string, canonical []byte, at time.Time, o Options) obj {
	key := w.rekorKey
	if o.Fault == FaultForeignLog {
		key = w.p256()
	}
	id := w.keyID(key.Public())
	const logIndex = 4711
	entry := obj{
		"logIndex": fmt.Sprint(logIndex), "logId": obj{"keyId": id}, "kindVersion": obj{"kind": kind, "version": "0.0.1"},
		"integratedTime": fmt.Sprint(at.Unix()), "canonicalizedBody": canonical,
	}
	promise := o.Fault != FaultNoProof && o.Fault != FaultNoTimestamp && o.Fault != FaultForeignTSA && o.Fault != FaultTimestamp && o.Fault != FaultTimestampWindow
	if promise {
		setKey := key
		if o.Fault == FaultSET {
			setKey = w.p256()
		}
		set, err := sign(setKey, w.canonical(obj{"body": base64.StdEncoding.EncodeToString(canonical), "integratedTime": at.Unix(), "logID": hex.EncodeToString(id), "logIndex": logIndex}))
		w.must(err)
		entry["inclusionPromise"] = obj{"signedEntryTimestamp": set}
	}
	if o.Version != "0.1" && o.Fault != FaultNoProof {
		proved := canonical
		if o.Fault == FaultProof {
			proved = append([]byte("x"), canonical...)
		}
		index, size, proof, root := tree(proved)
		cpKey := key
		if o.Fault == FaultCheckpoint {
			cpKey = w.p256()
		}
		cp, err := util.CreateAndSignCheckpoint(background, "rekor.sigstore.test", 1193050959916656506, size, root, w.logSigner(cpKey))
		w.must(err)
		cp = w.spoilCheckpoint(o.Fault, cp, cpKey)
		entry["inclusionProof"] = obj{"logIndex": fmt.Sprint(index), "rootHash": root, "treeSize": fmt.Sprint(size), "hashes": proof, "checkpoint": obj{"envelope": string(cp)}}
	}
	return entry
}

func (w *World) entryV2(e entryContent, fault Fault) obj {
	message := e.artifact
	if e.dsse {
		message = pae(e.payloadType, e.payload)
	}
	sum := sha256.Sum256(message)
	return w.sealV2(&protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: sum[:]}, &rekortiles.Signature{Content: e.sig, Verifier: e.verifierV2}, fault)
}

// spoilCheckpoint breaks a signed checkpoint in one part; what it changes in the
// text is signed again by the same key.
func (w *World) spoilCheckpoint(f Fault, cp []byte, key crypto.Signer) []byte {
	text, sigs, _ := strings.Cut(string(cp), "\n\n")
	lines := strings.Split(text, "\n") // origin, size, root, further lines
	switch f {
	case FaultCheckpointOrigin:
		lines = lines[1:]
	case FaultCheckpointNoSize:
		lines = slices.Delete(lines, 1, 2)
	case FaultCheckpointSize:
		lines[1] += "0"
	case FaultCheckpointNoRoot:
		lines = slices.Delete(lines, 2, 3)
	case FaultCheckpointRoot:
		sum := sha256.Sum256([]byte(randomID()))
		lines[2] = base64.StdEncoding.EncodeToString(sum[:])
	case FaultCheckpointUnsigned:
		return []byte(text + "\n\n")
	case FaultCheckpointHint, FaultCheckpointForeign:
		name, b64, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(sigs), "\u2014 "), " ")
		raw, err := base64.StdEncoding.DecodeString(b64)
		w.must(err)
		if !ok {
			return cp
		}
		raw[0] ^= 0xff
		if f == FaultCheckpointForeign {
			name = "witness.sigstore.test"
		}
		return []byte(text + "\n\n\u2014 " + name + " " + base64.StdEncoding.EncodeToString(raw) + "\n")
	default:
		return cp
	}
	text = strings.Join(lines, "\n") + "\n"
	name, b64, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(sigs), "\u2014 "), " ")
	raw, err := base64.StdEncoding.DecodeString(b64)
	w.must(err)
	sig, err := w.logSigner(key).SignMessage(strings.NewReader(text))
	w.must(err)
	return []byte(text + "\n\u2014 " + name + " " + base64.StdEncoding.EncodeToString(append(raw[:4], sig...)) + "\n")
}

// sealV2 puts an entry into log v2.
func (w *World) sealV2(data *protocommon.HashOutput, sig *rekortiles.Signature, fault Fault) obj {
	b, err := protojson.Marshal(&rekortiles.Entry{ApiVersion: "0.0.2", Kind: "hashedrekord", Spec: &rekortiles.Spec{Spec: &rekortiles.Spec_HashedRekordV002{
		HashedRekordV002: &rekortiles.HashedRekordLogEntryV002{
			Data: data, Signature: sig,
		},
	}}})
	w.must(err)
	canonical, err := jsoncanonicalizer.Transform(b)
	w.must(err)
	u, err := url.Parse(RekorV2URL)
	w.must(err)
	proved := canonical
	if fault == FaultProof {
		proved = append([]byte("x"), canonical...)
	}
	index, size, proof, root := tree(proved)
	var key crypto.Signer = w.v2Key
	id := w.v2ID
	if fault == FaultCheckpoint || fault == FaultForeignLog {
		other := New(w.tb, w.Now)
		key = other.v2Key
		if fault == FaultForeignLog {
			id = other.v2ID
		}
	}
	signer, err := note.NewNoteSigner(background, u.Hostname(), w.logSigner(key))
	w.must(err)
	cp, err := sumnote.Sign(&sumnote.Note{Text: string(formats.Checkpoint{Origin: u.Hostname(), Size: size, Hash: root}.Marshal())}, signer)
	w.must(err)
	cp = w.spoilCheckpoint(fault, cp, key)
	entry := obj{
		"logIndex": fmt.Sprint(index), "logId": obj{"keyId": id}, "kindVersion": obj{"kind": "hashedrekord", "version": "0.0.2"},
		"canonicalizedBody": canonical,
	}
	if fault != FaultNoProof {
		entry["inclusionProof"] = obj{"logIndex": fmt.Sprint(index), "rootHash": root, "treeSize": fmt.Sprint(size), "hashes": proof, "checkpoint": obj{"envelope": string(cp)}}
	}
	return entry
}
