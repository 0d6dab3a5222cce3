//! The herd as a picture: SVG, PNG, Mermaid and the terminal.
