package fake

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
)

// object returns an object of a schema of the description: the fields that are
// required, as empty as the schema allows, and over them the given ones.
func (s *Server) object(schema string, fields map[string]any) map[string]any {
	ref := s.doc.Components.Schemas[schema]
	if ref == nil {
		s.t.Fatalf("the description has no schema %s", schema)
	}
	o := required(ref.Value)
	maps.Copy(o, fields)
	return o
}

// empty returns the emptiest value that fits a schema.
func empty(schema *openapi3.Schema) any {
	switch {
	case schema.Nullable:
		return nil
	case len(schema.Enum) > 0:
		return schema.Enum[0]
	case len(schema.OneOf) > 0:
		return empty(schema.OneOf[0].Value)
	case len(schema.AnyOf) > 0:
		return empty(schema.AnyOf[0].Value)
	}
	switch {
	case schema.Type.Is("string"):
		return text(schema.Format)
	case schema.Type.Is("integer"), schema.Type.Is("number"):
		return 1
	case schema.Type.Is("boolean"):
		return false
	case schema.Type.Is("array"):
		return []any{}
	}
	return required(schema)
}

// required returns an object with the fields that it must have.
func required(schema *openapi3.Schema) map[string]any {
	all := map[string]any{}
	for _, part := range schema.AllOf {
		maps.Copy(all, required(part.Value))
	}
	for name, property := range schema.Properties {
		if !slices.Contains(schema.Required, name) {
			continue
		}
		all[name] = empty(property.Value)
		if strings.HasSuffix(name, "_at") && all[name] == text("") {
			all[name] = text("date-time")
		}
	}
	return all
}

func text(format string) string {
	switch format {
	case "uri":
		return "https://example.com"
	case "date-time":
		return time.Unix(1_700_000_000, 0).UTC().Format(time.RFC3339)
	case "email":
		return "someone@example.com"
	}
	return "x"
}

func (s *Server) user(u User) any {
	if u.ID == 0 {
		return nil
	}
	return s.object("simple-user", map[string]any{"id": u.ID, "login": u.Login})
}

func (s *Server) commit(c Commit) any {
	signature := func(email string) any {
		return map[string]any{"name": "x", "email": email, "date": text("date-time")}
	}
	o := s.object("commit", map[string]any{"sha": c.SHA, "author": s.user(c.Author), "committer": s.user(c.Committer)})
	inner, _ := o["commit"].(map[string]any)
	inner["message"], inner["author"], inner["committer"] = c.Message, signature(c.AuthorEmail), signature(c.CommitterEmail)
	inner["verification"] = map[string]any{"verified": c.Verified, "reason": "valid", "payload": nil, "signature": nil, "verified_at": nil}
	return o
}

func (s *Server) pull(schema string, p *Pull) any {
	o := s.object(schema, map[string]any{"number": p.Number, "title": p.Title, "state": p.State, "user": s.user(p.Author),
		"html_url": "https://github.com/" + Owner + "/" + Name + "/pull/1", "merge_commit_sha": orNull(p.MergeSHA)})
	side := func(name, owner, repo, ref, sha string) {
		half, _ := o[name].(map[string]any)
		half["ref"], half["sha"], half["label"] = ref, sha, owner+":"+ref
		id := repositoryID
		if owner != Owner {
			id++
		}
		half["repo"] = s.object("repository", map[string]any{"id": id, "name": repo, "full_name": owner + "/" + repo, "owner": s.user(User{int64(id), owner}),
			"allow_merge_commit": s.allows("merge"), "allow_squash_merge": s.allows("squash"), "allow_rebase_merge": s.allows("rebase")})
	}
	side("base", Owner, Name, p.BaseRef, p.BaseSHA)
	if p.HeadOwner == "" {
		side("head", Owner, Name, p.HeadRef, p.HeadSHA)
	} else {
		side("head", p.HeadOwner, p.HeadName, p.HeadRef, p.HeadSHA)
	}
	if p.HeadGone {
		o["head"].(map[string]any)["repo"] = nil
	}
	if !p.MergedAt.IsZero() {
		o["merged_at"] = p.MergedAt.UTC().Format(time.RFC3339)
		if schema == "pull-request" {
			o["merged"], o["merged_by"] = true, s.user(p.MergedBy)
		}
	}
	return o
}
