package reconciler

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// basis hashes what the engine will be given, the provider lock apart. A value
// that comes from another unit counts by that unit's outputs version, never by
// the value, which may be a secret.
func basis(module string, r Rendering, engine Engine, upstreamVersion func(request string) string) string {
	var text []byte
	part := func(parts ...string) {
		for _, p := range parts {
			text = fmt.Appendf(text, "%d:%s", len(p), p)
		}
	}
	part("pave-unit-v1", module, string(r.Generated), r.Address, engine.Name, majorMinor(engine.Version))
	for _, name := range sortedNames(r.Variables) {
		part("variable", name, string(canonical(r.Variables[name])))
	}
	for _, name := range sortedNames(r.References) {
		ref := r.References[name]
		part("reference", name, ref.Request, ref.Output, upstreamVersion(ref.Request))
	}
	return digest(text)
}

// fingerprint completes a basis by the provider lock. It is asked for of every unit, so
// it leaves nothing behind but what it returns.
func fingerprint[L string | []byte](basis string, lock L) string {
	var room [4 << 10]byte
	text := append(append(room[:0], basis...), ':')
	text = append(strconv.AppendInt(text, int64(len(lock)), 10), ':')
	return short(sha256.Sum256(append(text, lock...)))
}

// PlanDigest identifies what an approval of this job's plan is for: what the plan
// does, as the digest of its actions says, and all that the engine is given. Code
// that no plan shows, such as a provisioner, changes it as well.
func (j Job) PlanDigest(actions string, lock []byte) string {
	return digest(fmt.Appendf(nil, "pave-plan-v1 %s %t %s %s", j.Unit, j.Destroy, fingerprint(j.Basis, lock), actions))
}

// DocumentDigest identifies what a document says, in whatever order.
func DocumentDigest(doc json.RawMessage) string { return digest(canonical(doc)) }

// SortedDocumentDigest is the DocumentDigest of a document whose fields are sorted,
// without spaces.
func SortedDocumentDigest(doc json.RawMessage) string {
	if bytes.ContainsAny(doc, "<>&\u2028\u2029") { // which canonical writes otherwise
		return DocumentDigest(doc)
	}
	return digest(doc)
}

// digest identifies what the document says.
func (d Document) digest() string {
	if d.Digest != "" {
		return d.Digest
	}
	return DocumentDigest(d.JSON)
}

// digest identifies data.
func digest(data []byte) string { return short(sha256.Sum256(data)) }

// short writes the part of a sum that identifies well enough.
func short(sum [sha256.Size]byte) string {
	var text [40]byte
	hex.Encode(text[:], sum[:len(text)/2])
	return string(text[:])
}

func majorMinor(version string) string {
	major, rest, found := strings.Cut(version, ".")
	if !found {
		return version
	}
	minor, _, _ := strings.Cut(rest, ".")
	return version[:len(major)+1+len(minor)]
}

// judgement is what a run needs to judge its plan by the rules of its revision.
type judgement struct {
	Bundle  json.RawMessage `json:"bundle"`
	Subject Subject         `json:"subject"`
}

// PlanSubject returns the bundle of rules that a job carries and the subject
// they judge, the plan included.
func PlanSubject(job Job, plan json.RawMessage) (bundle json.RawMessage, subject Subject, err error) {
	var j judgement
	if err := json.Unmarshal(job.Policy, &j); err != nil {
		return nil, Subject{}, fmt.Errorf("read the rules of the run: %w", err)
	}
	j.Subject.Plan = plan
	return j.Bundle, j.Subject, nil
}

// verdictKey identifies the rules of a run and all that they see but the plan. Of
// the revision's time only the day counts: else every commit would have everything
// judged again.
func verdictKey(policy json.RawMessage) string {
	var j judgement
	if json.Unmarshal(policy, &j) != nil {
		return ""
	}
	j.Subject.Now = j.Subject.Now.UTC().Truncate(24 * time.Hour)
	data, err := json.Marshal(j)
	if err != nil {
		return ""
	}
	return digest(data)
}
