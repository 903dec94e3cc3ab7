package portal

import "net/http"

// mePage is what the portal knows of who reads it.
type mePage struct {
	ID     string `json:"id,omitempty"`
	Name   string `json:"name,omitempty"`
	Email  string `json:"email,omitempty"`
	Role   Role   `json:"role,omitempty"`
	Teams  []link `json:"teams,omitempty"`
	Groups int    `json:"groups"` // how many the provider says
	SignIn string `json:"-"`
}

func me(v *view, _ *http.Request) (any, error) {
	v.title = "You"
	if v.person == nil {
		return &mePage{SignIn: v.signIn}, nil
	}
	p := &mePage{ID: v.person.ID, Name: v.person.Name, Email: v.person.Email, Role: v.person.Role, Groups: len(v.person.Groups)}
	for _, name := range v.person.Teams {
		p.Teams = append(p.Teams, v.to("team", name))
	}
	return p, nil
}
