"""The style sheet of the sign-in page, in the colours of the other pages."""

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 sans-serif; }
body { margin: 0; background: light-dark(#f4f6f8, #11161d); color: light-dark(#1f2933, #e3e8ee); }
main { max-width: 22rem; margin: 12vh auto 0; padding: 1.5rem 2rem 2rem; border-radius: .5rem;
  background: light-dark(#fff, #1a212b); border: 1px solid light-dark(#d9dee4, #2d3642); }
h1 { font-size: 1.4rem; margin: 0 0 .5rem; }
p { margin: 0 0 1rem; font-size: .9rem; }
code { font-size: .85rem; }
label { display: block; font-weight: 600; margin-bottom: .25rem; }
input { box-sizing: border-box; width: 100%; font: inherit; padding: .5rem; margin-bottom: 1rem; border-radius: .3rem;
  border: 1px solid light-dark(#7b8794, #7b8794); background: light-dark(#fff, #11161d); color: inherit; }
button { font: inherit; width: 100%; padding: .55rem; border: 0; border-radius: .3rem; background: #2563eb; color: #fff;
  cursor: pointer; }
input:focus-visible, button:focus-visible, a:focus-visible { outline: 3px solid #7aa7ff; outline-offset: 2px; }
a { color: light-dark(#1d4ed8, #8ab4ff); }
.wrong { color: light-dark(#b00020, #ff8a8a); font-weight: 600; }
@media (max-width: 480px) {
  main { margin: 0; border: 0; border-radius: 0; min-height: 100vh; box-sizing: border-box; }
}
"""
