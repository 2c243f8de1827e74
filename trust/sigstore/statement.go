package sigstore

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/headgate/headgate/trust"
)

// PayloadType is the DSSE payload type of in-toto statements, the only one read.
const PayloadType = "application/vnd.in-toto+json"

// Predicate types that headgate knows by name.
const (
	PredicateProvenance02 = "https://slsa.dev/provenance/v0.2"
	PredicateProvenance1  = "https://slsa.dev/provenance/v1"
	PredicateNPMPublish   = "https://github.com/npm/attestation/tree/main/specs/publish/v0.1"
	PredicatePyPIPublish  = "https://docs.pypi.org/attestations/publish/v1"
	PredicateVSA          = "https://slsa.dev/verification_summary/v1"
)

// Subject is one subject of a verified statement.
type Subject struct {
	Name string
	// Digests in the order of their algorithm's name. Algorithms that headgate does
	// not know are left out; a subject with none left is refused.
	Digests trust.Digests
}

// Statement is an in-toto statement
// (https://github.com/in-toto/attestation/tree/main/spec), v0.1 or v1.
type Statement struct {
	Type          string
	PredicateType string
	Subjects      []Subject
	Predicate     json.RawMessage // a JSON object; as signed, byte for byte
}

const (
	statement01 = "https://in-toto.io/Statement/v0.1"
	statement1  = "https://in-toto.io/Statement/v1"
)

// ParseStatement reads a statement strictly: exact keys, no duplicates, no
// trailing data, every subject with a digest in lower-case hexadecimal of the
// right length. It verifies nothing.
func ParseStatement(b []byte) (Statement, error) { return parseStatement(b, false) }

// ParseFolderStatement is ParseStatement with the bounds of Expectation.Folder.
func ParseFolderStatement(b []byte) (Statement, error) { return parseStatement(b, true) }

func parseStatement(b []byte, folder bool) (Statement, error) {
	maxBytes, maxSubjects, maxValues := MaxBundle, MaxSubjects, MaxJSONValues
	if folder {
		maxBytes, maxSubjects, maxValues = MaxFolderBundle, MaxFolderSubjects, maxFolderValues
	}
	bad := func(format string, args ...any) (Statement, error) {
		return Statement{}, unreachable(trust.ReasonMalformed, "reading in-toto statement: "+format, args...)
	}
	if len(b) > maxBytes {
		return Statement{}, unreachable(trust.ReasonTooLarge, "statement of %d bytes is larger than %d", len(b), maxBytes)
	}
	if _, err := checkJSON(b, maxValues); err != nil {
		return bad("%w", err)
	}
	m, err := object(b)
	if err != nil {
		return bad("%w", err)
	}
	known := map[string]bool{"_type": true, "subject": true, "predicateType": true, "predicate": true}
	for k := range m {
		if !known[k] {
			return bad("unknown field %q", clip(k))
		}
	}
	var st Statement
	if st.Type, err = str(m, "_type"); err != nil {
		return bad("%w", err)
	}
	if st.Type != statement01 && st.Type != statement1 {
		return Statement{}, unreachable(trust.ReasonUnsupported, "reading in-toto statement: unknown type %q", clip(st.Type))
	}
	if st.PredicateType, err = str(m, "predicateType"); err != nil {
		return bad("%w", err)
	}
	if st.PredicateType == "" {
		return bad("no predicate type")
	}
	if raw, ok := m["predicate"]; ok && string(raw) != "null" {
		if _, err := object(raw); err != nil {
			return bad("predicate: %w", err)
		}
		st.Predicate = raw
	}
	var subjects []json.RawMessage
	if err := json.Unmarshal(m["subject"], &subjects); err != nil {
		return bad("subject: %w", err)
	}
	if len(subjects) > maxSubjects {
		return Statement{}, unreachable(trust.ReasonTooLarge, "statement with %d subjects has more than %d", len(subjects), maxSubjects)
	}
	for i, raw := range subjects {
		s, err := parseSubject(raw)
		if err != nil {
			return bad("subject %d: %w", i, err)
		}
		st.Subjects = append(st.Subjects, s)
	}
	return st, nil
}

func parseSubject(raw json.RawMessage) (Subject, error) {
	m, err := object(raw)
	if err != nil {
		return Subject{}, err
	}
	var s Subject
	if s.Name, err = str(m, "name"); err != nil {
		return Subject{}, err
	}
	var digests map[string]*string
	if err := json.Unmarshal(m["digest"], &digests); err != nil {
		return Subject{}, fmt.Errorf("digest: %w", err)
	}
	for _, alg := range []trust.Algorithm{trust.DirHash1, trust.GitCommit, trust.SHA1, trust.SHA256, trust.SHA384, trust.SHA512} {
		v, ok := digests[string(alg)]
		if !ok {
			continue
		}
		if v == nil {
			return Subject{}, fmt.Errorf("%s digest is null", alg)
		}
		if *v != strings.ToLower(*v) {
			return Subject{}, fmt.Errorf("%s digest is not in lower case", alg)
		}
		if alg == trust.DirHash1 && strings.HasPrefix(*v, "h1:") {
			d, err := trust.ParseDigest(*v)
			if err != nil {
				return Subject{}, err
			}
			s.Digests = append(s.Digests, d)
			continue
		}
		if _, err := hex.DecodeString(*v); err != nil {
			return Subject{}, fmt.Errorf("%s digest is not hexadecimal", alg)
		}
		d, err := trust.NewDigest(alg, *v)
		if err != nil {
			return Subject{}, err
		}
		s.Digests = append(s.Digests, d)
	}
	if len(s.Digests) == 0 {
		return Subject{}, fmt.Errorf("no digest of a known algorithm")
	}
	return s, nil
}
